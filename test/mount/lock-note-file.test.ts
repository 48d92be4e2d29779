/** Notes of locks that outlive a mount: what is written, when, and who may clean up. */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Logger } from '../../lib/base/log.js';
import {
  claimNotes,
  type LockPlace,
  type NotedLock,
  releaseLeftLocks,
} from '../../lib/mount/reach/left-locks.js';
import { LockNoteFile } from '../../lib/mount/serve/lock-note-file.js';
import { fileHandleFromBytes } from '../../lib/programs/nfs3/index.js';
import {
  LockStatus,
  lockProcedures,
  lockStatusName,
  NLM_PROGRAM,
  type UnlockArguments,
} from '../../lib/programs/nlm4/index.js';
import { handle, RpcServer } from '../../lib/rpc/index.js';
import type { EmbeddedServer } from '../../lib/server/index.js';
import { rig } from '../server/support/rig.js';
import { publicFolder } from '../support/folders.js';
import { mustRun } from '../support/process.js';

const NOWHERE = {
  host: '127.0.0.1',
  port: 1,
  protocol: 'tcp',
  callerName: 'here',
  resvport: false,
  user: { uid: 0, gid: 0, groups: [] },
} as const;
const NOT_REACHED = { released: 0, failed: 1, why: /ECONNREFUSED/ };
const fileHandle = fileHandleFromBytes(Buffer.from('a file'));
const note = (svid: number): NotedLock => ({ handle: fileHandle, svid, ownerHandle: `${svid}@here` });

/** A runtime folder of the test's own. */
function runtimeFolder(test: Test): string {
  const folder = publicFolder();
  const before = process.env.XDG_RUNTIME_DIR;
  process.env.XDG_RUNTIME_DIR = folder.path;
  mkdirSync(join(folder.path, 'nfs-fuse'), { mode: 0o700 });
  test.teardown(() => {
    if (before === undefined) delete process.env.XDG_RUNTIME_DIR;
    else process.env.XDG_RUNTIME_DIR = before;
    return folder.remove();
  });
  return join(folder.path, 'nfs-fuse');
}

function warnings(): { readonly log: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  const ignore = (): void => {};
  return { lines, log: { info: ignore, warn: (line) => void lines.push(line), error: ignore } };
}

t.test('the notes of a dead process go although a thread of it still has them claimed', async (t) => {
  const folder = runtimeFolder(t);
  const stuck = new LockNoteFile('/mnt', warnings().log).locksAreAt(NOWHERE);
  stuck.note(note(1));
  t.same(readdirSync(folder), [stuck.name]);
  const claimed = claimNotes(stuck.name);
  t.same(readdirSync(folder), [stuck.name]);
  claimed.remove();
  t.same(readdirSync(folder), []);
  stuck.close(false);
});

t.test('a mount without locks leaves no file, and one that released them all neither', async (t) => {
  const folder = runtimeFolder(t);
  const unused = new LockNoteFile('/mnt', warnings().log).locksAreAt(NOWHERE);
  unused.close(true);
  t.same(readdirSync(folder), []);
  const used = new LockNoteFile('/mnt', warnings().log).locksAreAt(NOWHERE);
  used.note(note(1));
  t.same(readdirSync(folder), [used.name]);
  used.close(true);
  t.same(readdirSync(folder), []);
});

t.test(
  'a note is in the file when note() returns, and is written once however often it is made',
  async (t) => {
    const folder = runtimeFolder(t);
    const file = new LockNoteFile('/mnt', warnings().log).locksAreAt(NOWHERE);
    const text = (): string => readFileSync(join(folder, file.name), 'utf8');
    for (let i = 0; i < 100; i++) {
      file.note(note(7));
      file.forget(note(7));
    }
    t.equal(text().split('\n').length, 3, 'the head, the note, and the end');
    file.note({ ...note(8), waiting: { start: 5n, end: 2n ** 63n - 1n, exclusive: true } });
    t.match(text(), /,8,"[0-9a-f]+","5","9223372036854775807",true\]\n$/);
    file.close(true);
  },
);

t.test('the file is written anew without what is not needed any more', async (t) => {
  const folder = runtimeFolder(t);
  const file = new LockNoteFile('/mnt', warnings().log).locksAreAt(NOWHERE);
  file.note(note(0));
  for (let svid = 1; svid <= 5_000; svid++) {
    file.note(note(svid));
    file.forget(note(svid));
  }
  const lines = readFileSync(join(folder, file.name), 'utf8').split('\n');
  t.ok(lines.length < 1_500, `${lines.length} lines`);
  t.match(lines[1], /,0,/, 'the note that is still needed');
  t.same(await releaseLeftLocks('/mnt'), { released: 0, failed: 0 }, 'its owner lives');
  file.close(false);
  t.same(readdirSync(folder), [file.name], 'some were not released');
});

t.test(
  'locks of a living mount are left alone, and those of a dead one stay noted while nobody answers',
  async (t) => {
    const folder = runtimeFolder(t);
    const file = new LockNoteFile('/mnt', warnings().log).locksAreAt(NOWHERE);
    file.note(note(1));
    t.same(await releaseLeftLocks('/mnt'), { released: 0, failed: 0 });
    file.close(false);
    t.same(await releaseLeftLocks('/elsewhere'), { released: 0, failed: 0 });
    t.match(await releaseLeftLocks('/mnt'), NOT_REACHED);
    t.same(readdirSync(folder), [file.name]);
  },
);

/** Where a server of the test's own listens that wants a reserved port. */
async function strictServer(
  test: Test,
): Promise<{ readonly server: EmbeddedServer; readonly at: LockPlace }> {
  const { server } = await rig(test, { reservedPortsOnly: true }, undefined, { resvport: true });
  return { server, at: { ...NOWHERE, port: server.port, resvport: true } };
}

t.test('locks count as released only if the lock manager says that it holds nothing', async (t) => {
  const folder = runtimeFolder(t);
  const { server, at } = await strictServer(t);
  const { GRANTED, DENIED_GRACE_PERIOD, STALE_FH } = LockStatus;
  for (const lockStatus of Object.values(LockStatus)) {
    const file = new LockNoteFile('/mnt', warnings().log).locksAreAt(at);
    file.note(note(1));
    file.note(note(2));
    file.close(false);
    const stale = { procedure: 'UNLOCK', lockStatus: STALE_FH } as const;
    server.faults.add({ procedure: 'UNLOCK', lockStatus });
    server.faults.add({ ...stale, when: (args) => (args as UnlockArguments).lock.svid === 2 });
    const gone = ([GRANTED, DENIED_GRACE_PERIOD, STALE_FH] as number[]).includes(lockStatus);
    const name = lockStatusName(lockStatus);
    const expected = gone ? { released: 2, failed: 0 } : { released: 1, failed: 1, why: name };
    t.same(await releaseLeftLocks('/mnt'), expected, name);
    t.same(readdirSync(folder), gone ? [] : [file.name], name);
    server.faults.clear();
    rmSync(join(folder, file.name), { force: true });
  }
});

t.test('what waits is given up, and it does not matter if nothing waits any more', async (t) => {
  runtimeFolder(t);
  const { server, at } = await strictServer(t);
  for (const [lockStatus, failed] of [
    [LockStatus.DENIED, 0],
    [LockStatus.FAILED, 1],
  ] as const) {
    const file = new LockNoteFile('/mnt', warnings().log).locksAreAt(at);
    file.note({ ...note(1), waiting: { start: 0n, end: 5n, exclusive: true } });
    file.close(false);
    server.faults.add({ procedure: 'CANCEL', lockStatus });
    server.faults.add({ procedure: 'UNLOCK', lockStatus: LockStatus.GRANTED });
    t.match(await releaseLeftLocks('/mnt'), { released: 1 - failed, failed });
    server.faults.clear();
  }
});

t.test('calls carry the user whom the notes name', async (t) => {
  runtimeFolder(t);
  const seen: unknown[] = [];
  const server = new RpcServer();
  const { UNLOCK } = lockProcedures;
  const unlock = handle(UNLOCK, ({ cookie }, { credential }) => {
    seen.push(credential);
    return { cookie, status: LockStatus.GRANTED };
  });
  server.register(NLM_PROGRAM, [unlock]);
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(() => server.close());
  const user = { uid: 4711, gid: 4712, groups: [4713] };
  const file = new LockNoteFile('/mnt', warnings().log).locksAreAt({ ...NOWHERE, port, user });
  file.note(note(1));
  file.close(false);
  t.same(await releaseLeftLocks('/mnt'), { released: 1, failed: 0 });
  t.same(seen, [{ machineName: 'here', ...user }]);
});

t.test('notes that do not say how the server is called are understood', async (t) => {
  const folder = runtimeFolder(t);
  const { server, at } = await strictServer(t);
  const file = new LockNoteFile('/mnt', warnings().log).locksAreAt({
    ...at,
    resvport: undefined,
    user: undefined,
  });
  file.note({ ...note(1), handle: server.rootHandle });
  file.close(false);
  t.notMatch(readFileSync(join(folder, file.name), 'utf8'), /resvport|user/);
  t.same(await releaseLeftLocks('/mnt'), { released: 1, failed: 0 });
});

t.test('a file that makes no sense is taken away, and a torn last line is ignored', async (t) => {
  const folder = runtimeFolder(t);
  const file = new LockNoteFile('/mnt', warnings().log).locksAreAt(NOWHERE);
  file.note(note(1));
  const path = join(folder, file.name);
  const text = readFileSync(path, 'utf8');
  file.close(false);
  writeFileSync(path, `${text}["6162",2,"6`);
  t.match(await releaseLeftLocks('/mnt'), NOT_REACHED);
  writeFileSync(path, '\0\xff{"version":1}\n[]\n[1,2,3]\n');
  t.same(await releaseLeftLocks('/mnt'), { released: 0, failed: 0 });
  t.same(readdirSync(folder), []);
});

t.test('only files that a mount of this user can have written are believed', async (t) => {
  const folder = runtimeFolder(t);
  const file = new LockNoteFile('/mnt', warnings().log).locksAreAt(NOWHERE);
  file.note(note(1));
  file.close(false);
  const path = join(folder, file.name);
  const kept = join(folder, 'kept');
  t.equal(statSync(path).mode & 0o777, 0o600);
  const refuses = async (what: string) => {
    t.same(await releaseLeftLocks('/mnt'), { released: 0, failed: 0 }, what);
    t.same(readdirSync(folder).sort(), [file.name, 'kept'].sort(), `${what}: nothing is touched`);
    rmSync(path);
  };
  renameSync(path, kept);
  symlinkSync(kept, path);
  await refuses('a link');
  await mustRun(['mkfifo', path]);
  await refuses('a pipe that nobody writes to');
  copyFileSync(kept, path);
  chownSync(path, 65_534, 65_534);
  await refuses('a file of another user');
  copyFileSync(kept, path);
  chmodSync(path, 0o666);
  await refuses('a file that others may write to');
  renameSync(kept, path);
  t.match(await releaseLeftLocks('/mnt'), NOT_REACHED, 'it is asked for what the file says');
});

t.test(
  'a file gets its name when it is claimed: another mount at the same place cannot take it away',
  async (t) => {
    const folder = runtimeFolder(t);
    const seen: string[][] = [];
    const file = new LockNoteFile('/mnt', warnings().log);
    // The head of the file is made from this, after the file was opened.
    const watched = {
      ...NOWHERE,
      get host(): string {
        seen.push(readdirSync(folder));
        return NOWHERE.host;
      },
    };
    file.locksAreAt(watched);
    file.note(note(1));
    t.same(seen, [[`${file.name}.new`]]);
    t.same(readdirSync(folder), [file.name]);
    file.close(true);
  },
);

t.test('a folder that cannot be written to is said once, and locks go on', async (t) => {
  const folder = runtimeFolder(t);
  const { log, lines } = warnings();
  const file = new LockNoteFile('/mnt', log).locksAreAt(NOWHERE);
  // The name is taken: the file cannot be made.
  mkdirSync(join(folder, file.name));
  file.note(note(1));
  file.note(note(2));
  t.equal(lines.length, 1);
  t.match(lines[0], /Locks cannot be noted in the runtime folder \(EISDIR\)/);
  file.close(true);
});
