/** A process goes on with the mount of one that has died: directories that a program was reading. */
import t from 'tap';
import { firstProcess, nextProcess } from '../support/handover-rig.js';

const NAMES = Array.from({ length: 1_000 }, (_, at) => `f${String(at).padStart(4, '0')}`);

/** The directory "d" has all of {@link NAMES}, and a program has read the first 600 entries of it. */
async function halfListed() {
  const process = firstProcess();
  const { rig } = process;
  rig.server.tree.directory('d');
  for (const name of NAMES) rig.server.tree.file(`d/${name}`, '');
  const { fh } = await rig.directories.open(await rig.walk('d'), rig.caller());
  return { process, fh, half: await rig.listSome(fh, 0n, 600) };
}

t.test('a listing goes on where it was', async (t) => {
  const { process, fh, half } = await halfListed();
  const { rig } = await nextProcess(process);
  const rest = await rig.listSome(fh, half.offset, 5_000);
  const listed = [...half.names, ...rest.names].filter((name) => !name.startsWith('.'));
  t.same(listed.sort(), NAMES);
});

t.test('a listing gives no name twice because the records of its directory are old', async (t) => {
  const process = firstProcess();
  const { rig: before } = process;
  before.server.tree.directory('d');
  const d = await before.walk('d');
  for (const name of ['a', 'b', 'c', 'e']) before.server.tree.file(`d/${name}`, '');
  await before.pass(60_000);
  const { fh } = await before.directories.open(d, before.caller());
  const half = await before.listSome(fh, 0n, 4);
  const { rig } = await nextProcess(process);
  const rest = await rig.listSome(fh, half.offset, 100);
  t.same([...half.names, ...rest.names].sort(), ['.', '..', 'a', 'b', 'c', 'e']);
});

t.test('a listing of a directory that has changed meanwhile leaves no file out', async (t) => {
  const { process, fh, half } = await halfListed();
  for (const name of NAMES.slice(0, 100)) process.rig.server.tree.remove(`d/${name}`);
  const { rig } = await nextProcess(process);
  const rest = await rig.listSome(fh, half.offset, 5_000);
  const listed = new Set([...half.names, ...rest.names]);
  t.same(
    NAMES.filter((name) => !listed.has(name)),
    [],
  );
});

t.test('a listing that has come to its end ends in the next process, too', async (t) => {
  const process = firstProcess();
  const { tree } = process.rig.server;
  tree.directory('d');
  const d = await process.rig.walk('d');
  for (let at = 0; at < 50; at++) tree.file(`d/f${at}`, '');
  const { fh } = await process.rig.directories.open(d, process.rig.caller());
  const all = await process.rig.listSome(fh, 0n, 1_000);
  const { rig } = await nextProcess(process);
  t.same((await rig.listSome(fh, all.offset, 1_000)).names, []);
});
