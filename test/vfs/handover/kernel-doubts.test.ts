/** The kernel believes names that it was told by a process that has died: the next one has it ask again. */
import t from 'tap';
import type { FuseNotifier, KnownEntry } from '../../../lib/fuse/contract/operations.js';
import { letKernelAsk } from '../../../lib/vfs/handover/kernel-doubts.js';
import { firstProcess, nextProcess } from '../support/handover-rig.js';
import type { Rig } from '../support/rig.js';

/** The next process goes on with a mount of so many known files. */
async function manyNames(count: number) {
  const process = firstProcess();
  process.rig.server.tree.directory('d');
  for (let at = 0; at < count; at++) {
    process.rig.server.tree.file(`d/f${at}`, 'x');
    await process.rig.walk(`d/f${at}`);
  }
  const { rig } = await nextProcess(process);
  return { rig, ask: (more: Partial<FuseNotifier>) => ask(rig, more) };
}

function ask(rig: Rig, more: Partial<FuseNotifier> = {}): Promise<void> {
  return letKernelAsk({ ...rig.vfs.kernel.notifier, ...more }, rig.vfs);
}

t.test('the kernel asks again for names of the process before, not for those of this one', async (t) => {
  const process = firstProcess();
  const { tree } = process.rig.server;
  tree.directory('d');
  for (const name of ['top', 'd/a', 'd/b', 'd/new']) tree.file(name, 'x');
  for (const name of ['top', 'd/a', 'd/b']) await process.rig.walk(name);
  const { rig } = await nextProcess(process);
  const d = await rig.walk('d');
  await rig.walk('d/new');
  rig.notices.length = 0;
  await ask(rig);
  t.same(rig.notices.sort(), ['expire 1 d,top', `expire ${d.nodeid} a,b`]);
});

t.test('what the kernel has of open files is dropped, and of no others', async (t) => {
  const process = firstProcess();
  const { tree } = process.rig.server;
  tree.directory('d');
  tree.directory('other');
  tree.file('f', 'x');
  tree.file('g', 'x');
  const { inode } = await process.rig.open('f');
  const d = await process.rig.walk('d');
  await process.rig.directories.open(d, process.rig.caller());
  await process.rig.walk('g');
  await process.rig.walk('other');
  const { rig } = await nextProcess(process);
  await ask(rig, { expiresEntries: false });
  t.same(
    rig.notices.sort(),
    [`attributes ${d.nodeid}`, `pages ${inode.nodeid} 0`],
    'and no name is unhashed, on kernels that cannot do less',
  );
});

t.test('a multitude of names does not keep other notifications waiting', async (t) => {
  const { ask } = await manyNames(300);
  let waiting = 0;
  let most = 0;
  let told = 0;
  await ask({
    async expireEntries(_parent: number, entries: Iterable<KnownEntry>) {
      const count = [...entries].length;
      told += count;
      waiting += count;
      most = Math.max(most, waiting);
      await Promise.resolve();
      waiting -= count;
    },
  });
  t.equal(told, 301);
  t.ok(most <= 64, `${most} at a time`);
});

t.test('names that the kernel trusts no more are left alone', async (t) => {
  const { rig, ask } = await manyNames(300);
  let told = 0;
  await ask({
    expireEntries(_parent: number, entries: Iterable<KnownEntry>) {
      told += [...entries].length;
      rig.clock.advance(rig.vfs.config.acDirMaxMs * 0.35);
      return Promise.resolve();
    },
  });
  t.equal(told, 128);
});
