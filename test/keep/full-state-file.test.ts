/** --state FILE on a full file system: the mount goes on or ends, is never wrong, and a message says which. */
import { mkdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { mustRun, run, start, until } from '../support/process.js';
import { python } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';
import { keepersOf } from '../support/watchers.js';
import { armed, killed } from './support/armed.js';

const KIB = 1024;
const PATIENCE_MS = 60_000;

async function onTmpfs(t: Test, bytes: number) {
  const ground = await armed(t);
  const folder = join(ground.scratch.path, 'small');
  mkdirSync(folder);
  await mustRun(['mount', '-t', 'tmpfs', '-o', `size=${bytes}`, 'none', folder]);
  t.teardown(() => run(['umount', '-l', folder]));
  const free = () => {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  };
  return { ...ground, state: join(folder, 'state'), ballast: join(folder, 'ballast'), free };
}

/** Its last write or close fails, and it says how. */
const WRITER = `
import os, sys
file = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
os.write(file, b'first')
os.fsync(file)
print('synced', flush=True)
sys.stdin.readline()
os.write(file, b'second')
print('written', flush=True)
sys.stdin.readline()
try:
    os.write(file, b'third')
    os.close(file)
except OSError as error:
    print(error)
`;

const nobodyKeeps = () => until('nobody keeps it', () => keepersOf('/dev/fd/8').length === 0, PATIENCE_MS);

t.test('full from the beginning: it is refused, and begins when there is room', async (t) => {
  const { mnt, state, ballast, free, serve, says } = await onTmpfs(t, 512 * KIB);
  writeFileSync(ballast, Buffer.alloc(free()));
  await serve(`--state ${state}`);
  await says(/There is no room for the state in .*\/state\.\n.*more room/);
  rmSync(ballast);
  await serve(`--state ${state}`);
  await says(/is mounted on \/dev\/fd\/8/);
  t.equal(await mustRun(['ls', mnt]), '');
});

t.test(
  'too small for the records: the mount goes on without a keeper, and ends with its process',
  async (t) => {
    const { served, mnt, state, serve, says } = await onTmpfs(t, 512 * KIB);
    const names = Array.from({ length: 4_000 }, (_, number) => `file${number}`);
    for (const name of names) writeFileSync(join(served, name), name);
    const first = await serve(`--state ${state}`);
    await says(/is mounted on \/dev\/fd\/8/);
    const listed = await mustRun(['ls', '-l', mnt]);
    t.equal(listed.split('\n').length, names.length + 2);
    await says(/There is no memory left for the state of this mount: if its process dies, the mount ends\./);
    t.equal(await mustRun(['cat', join(mnt, 'file3999')]), 'file3999', 'programs notice nothing');
    await mustRun(['sh', '-c', 'echo written > "$0/new"', mnt]);
    t.equal(readFileSync(join(served, 'new'), 'utf8'), 'written\n');
    killed(first);
    await nobodyKeeps();
    await serve(`--state ${state}`);
    await says(/The state in .* cannot be gone on with: there was no memory left for the whole state\./);
  },
);

t.test('too small for written data: the mount goes on, and who has written hears of the loss', async (t) => {
  const { server, served, mnt, state, ballast, free, serve, says } = await onTmpfs(t, 8192 * KIB);
  const first = await serve(`--state ${state}`);
  await says(/is mounted on \/dev\/fd\/8/);
  // Room for records, and none for the copies of data, which come by the mebibyte.
  writeFileSync(ballast, Buffer.alloc(free() - 1000 * KIB));
  const writer = untilEnd(
    t,
    start([python, '-c', WRITER, join(mnt, 'file')], { stdio: ['pipe', 'pipe', 'pipe'] }),
  );
  await until('it has synced', () => writer.output.includes('synced'));
  const lost = server.faults.add({ procedure: 'WRITE', lose: 'call', times: 1000 });
  writer.child.stdin?.write('go on\n');
  await until('it has written', () => writer.output.includes('written'));
  await until('a WRITE is on its way', () => lost.hits > 0);
  killed(first);
  await nobodyKeeps();
  lost.remove();
  await serve(`--state ${state}`);
  await says(/has taken the mount over after \d+ ms\. Data of 1 file died with it/);
  writer.child.stdin?.end('go on\n');
  t.match(await writer.ended, { status: 0, stdout: /^\[Errno 5\]/m }, writer.output);
  t.match(readFileSync(join(served, 'file'), 'utf8'), /^first/, 'what sync(1) has confirmed is there');
  await mustRun(['sh', '-c', 'echo next > "$0/next"', mnt]);
  t.equal(readFileSync(join(served, 'next'), 'utf8'), 'next\n');
});
