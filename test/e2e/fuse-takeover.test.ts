/** A mount whose process is killed, and another process that goes on with it, on a real kernel: programs notice nothing. */
import { closeSync, openSync } from 'node:fs';
import t from 'tap';
import { adoptMount, FuseSession, MountError, readMountinfo } from '../../lib/fuse/index.js';
import { readInto } from '../../lib/fuse/system-calls.js';
import { duplicateDescriptor } from '../support/descriptors.js';
import { MemoryFileSystem } from '../support/memory-fs.js';
import { type Background, mustRun, run, start, until } from '../support/process.js';
import { serve } from '../support/served-memory.js';
import { holdMount, type TakeoverServer } from '../support/takeover.js';

const python = (program: string, ...args: string[]): string[] => ['python3', '-c', program, ...args];
const WRITE = 'import os,sys; fd=os.open(sys.argv[1],os.O_RDWR); os.pwrite(fd,b"CONTENT",0); os.close(fd)';
const LOCK = 'import fcntl,sys; f=open(sys.argv[1],"r+"); fcntl.lockf(f,fcntl.LOCK_EX); print("locked")';
const FLOCK = 'import fcntl,sys; f=open(sys.argv[1],"r+"); fcntl.flock(f,fcntl.LOCK_EX); print("locked")';
const LINK = 'import os,sys; os.symlink("target",sys.argv[1])';

/** Starts each program when the one before it waits for its answer. */
async function startAll(programs: readonly string[][], waiting: (count: number) => Promise<void>) {
  const running: Background[] = [];
  for (const argv of programs) {
    running.push(start(argv));
    await waiting(running.length);
  }
  return running;
}

t.test('requests under way when the process is killed are answered by the next one', async (t) => {
  const { path, serve } = await holdMount(t);
  const first = await serve({ hold: ['read', 'write', 'mkdir', 'symlink', 'setlk'] });
  const running = await startAll(
    [
      ['cat', path('read')],
      python(WRITE, path('written')),
      ['mkdir', path('one/made')],
      python(LINK, path('other/link')),
      python(LOCK, path('locked')),
      python(FLOCK, path('locked')),
    ],
    (count) => first.holds(count),
  );
  first.order({ hold: ['lookup'] });
  running.push(start(['stat', '-c', '%s', path('looked-up')]));
  await first.holds(running.length);
  await first.kill();
  const late = start(['stat', '-c', '%s', path('read')]);
  t.equal(late.outcome, undefined, 'programs wait while nobody serves');
  const second = await serve({ hold: [] }, first);
  const outcomes = await Promise.all(running.map(({ ended }) => ended));
  t.same(
    outcomes.map(({ status }) => status),
    running.map(() => 0),
    outcomes.map(({ stderr }) => stderr.toString()).join(''),
  );
  t.same(
    outcomes.map(({ stdout }) => stdout.toString()),
    ['content of read', '', '', '', 'locked\n', 'locked\n', `${'content of looked-up'.length}\n`],
  );
  t.equal((await late.ended).status, 0);
  const order = (a: { unique: number }, b: { unique: number }) => a.unique - b.unique;
  t.same(
    second.resent.sort(order),
    first.held.map((request) => ({ ...request, resent: true })).sort(order),
    'exactly these came again, with their numbers',
  );
  t.equal(await mustRun(['cat', path('written')]), 'CONTENT of written');
  t.equal(await mustRun(['readlink', path('other/link')]), 'target\n');
  t.equal(first.output + second.output, '');
});

t.test(
  'where the kernel cannot repeat requests, those under way end with an error, and no others',
  async (t) => {
    const { mount, path, serve } = await holdMount(t);
    const first = await serve({ hold: ['read', 'write', 'mkdir', 'symlink', 'setlk'], resend: false });
    const running = await startAll(
      [
        ['cat', path('read')],
        python(WRITE, path('written')),
        ['mkdir', path('one/made')],
        python(LINK, path('other/link')),
        python(LOCK, path('locked')),
      ],
      (count) => first.holds(count),
    );
    await first.kill();
    // A process may die between the read of a request and its note.
    running.push(start(['stat', path('forgotten')]));
    const message = Buffer.alloc(2 ** 21);
    await until('a request is read, and nobody notes it', () => readInto(mount.fd, message, 2 ** 21) > 0);
    const late = start(['cat', path('looked-up')]);
    const second = await serve({ hold: [] }, first);
    const [reader, ...others] = running;
    for (const { ended } of others) {
      const { status, stderr } = await ended;
      t.ok(status !== 0 && stderr.includes('Input/output error'), stderr.toString());
    }
    // The kernel itself asks once more for a page that its read-ahead did not get.
    t.equal((await reader?.ended)?.stdout.toString(), 'content of read');
    t.equal((await late.ended).stdout.toString(), 'content of looked-up');
    t.same(second.resent, []);
    t.equal(await mustRun(['cat', path('read')]), 'content of read');
    await second.kill();
    const third = await serve({ hold: [] }, first);
    t.equal(await mustRun(['cat', path('written')]), 'content of written');
    t.equal(first.output + second.output + third.output, '');
  },
);

t.test('a request that comes again can be interrupted', async (t) => {
  const { path, serve } = await holdMount(t);
  const first = await serve({ hold: ['open'], graceMs: 3_600_000 });
  const running = await startAll(
    ['read', 'written', 'locked'].map((name) => ['cat', path(name)]),
    (count) => first.holds(count),
  );
  running[2]?.signal('SIGKILL'); // the first process hears of it, and lives no longer than the grace
  await until('the interrupt was read', () => first.interrupts > 0);
  await first.kill();
  running[0]?.signal('SIGKILL'); // while nobody serves
  const second = await serve({ hold: ['open'] }, first);
  await second.holds(3);
  running[1]?.signal('SIGKILL');
  for (const program of running) t.equal((await program.ended).signal, 'SIGKILL');
  t.equal((await run(['stat', path('read')])).status, 0);
});

t.test('deaths in a row lose nothing: each process has the requests of all before it', async (t) => {
  const { path, serve } = await holdMount(t);
  let server = await serve({ hold: ['read', 'write'] });
  const first = server;
  const running: Background[] = [];
  for (const argv of [['cat', path('read')], python(WRITE, path('written')), ['cat', path('locked')]]) {
    running.push(start(argv));
    await server.holds(running.length);
    await server.kill();
    server = await serve({ hold: ['read', 'write'] }, first);
    await server.holds(running.length);
  }
  await server.kill();
  await serve({ hold: [] }, first);
  for (const { ended } of running) {
    const { status, stderr } = await ended;
    t.equal(status, 0, stderr.toString());
  }
});

t.test('a process that dies between the read of INIT and its answer is followed by another', async (t) => {
  const { mount, path, serve } = await holdMount(t);
  const message = Buffer.alloc(2 ** 21);
  await until('INIT is read', () => readInto(mount.fd, message, message.length) > 0);
  const program = start(['cat', path('read')]);
  const first = await serve({ hold: [], restarted: true });
  t.equal((await program.ended).stdout.toString(), 'content of read');
  await first.kill();
  const second = await serve({ hold: [] }, first);
  t.equal(await mustRun(['cat', path('written')]), 'content of written');
  await second.kill();
});

t.test('the kernel gives back as many lookups as were answered, whoever answered them', async (t) => {
  const { path, serve } = await holdMount(t);
  const file = path('forgotten');
  const first = await serve({ hold: [] });
  const inode = Number(await mustRun(['stat', '-c', '%i', file]));
  await mustRun(['stat', file]);
  first.order({ hold: ['lookup'] });
  const waiting = start(['stat', file]);
  await first.holds(1);
  await first.kill();
  const second = await serve({ hold: [] }, first);
  t.equal((await waiting.ended).status, 0);
  t.same(second.resent, [{ ...first.held[0], resent: true }]);
  await mustRun(['rm', file]);
  await until('the kernel forgets the file', () => second.forgot.has(inode));
  const lookups = (server: TakeoverServer) => server.lookups.get('forgotten') ?? 0;
  t.ok(lookups(first) > 0 && lookups(second) > 0);
  t.equal(second.forgot.get(inode), lookups(first) + lookups(second));
});

t.test(
  'a mount is adopted with its descriptor, and only the mount that is in its place can be unmounted',
  async (t) => {
    const { mount, session } = await serve(t, new MemoryFileSystem());
    const fd = duplicateDescriptor(mount.fd);
    const resumed = await session.ready;
    session.abort();
    const { mountpoint, method, id, minor, major } = mount;
    const adopted = await adoptMount(fd, { mountpoint, method });
    t.match(adopted, { fd, mountpoint, method, id, minor, major });
    const elsewhere = await adoptMount(fd, { mountpoint: '/nowhere', method });
    t.match(elsewhere, { fd, mountpoint: '/nowhere', id: -1, minor, major });
    const next = new FuseSession(fd, new MemoryFileSystem(), { resumed });
    t.equal((await run(['stat', mountpoint])).status, 0);
    await elsewhere.unmount();
    t.equal((await run(['stat', mountpoint])).status, 0, 'only what is there is unmounted');
    await adopted.unmount();
    t.equal(await next.closed, 'unmounted');
    t.notOk((await readMountinfo()).some((entry) => entry.id === id));
  },
);

t.test('only a descriptor of a mount that is there can be adopted', async (t) => {
  const made = { mountpoint: '/nowhere', method: 'direct' } as const;
  const zero = openSync('/dev/zero', 'r');
  await t.rejects(adoptMount(zero, made), { code: 'bad-descriptor' });
  closeSync(zero);
  const fresh = openSync('/dev/fuse', 'r+');
  await t.rejects(adoptMount(fresh, made), MountError);
  closeSync(fresh);
});
