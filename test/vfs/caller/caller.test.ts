import t from 'tap';
import { Errno, FuseError } from '../../../lib/fuse/contract/errno.js';
import { type ErrorStatus, FileType, GETATTR, Status, statusName } from '../../../lib/programs/nfs3/index.js';
import { decodeAuthSys } from '../../../lib/rpc/auth/auth-sys.js';
import { RpcCancelledError, RpcClosedError, RpcTimeoutError } from '../../../lib/rpc/rpc-errors.js';
import {
  type Caller,
  Credentials,
  type UserCredential,
  unattended,
  withGroups,
} from '../../../lib/vfs/caller/caller.js';
import { VfsCounters } from '../../../lib/vfs/counters.js';
import { direntType, inodeNumber, toFuseAttributes } from '../../../lib/vfs/kernel/fuse-attributes.js';
import { transferSize } from '../../../lib/vfs/remote/export-session.js';
import { NfsClient } from '../../../lib/vfs/remote/nfs-client.js';
import { errnoOfStatus, isStale, rpcFailure } from '../../../lib/vfs/remote/status-errno.js';
import { ManualClock } from '../../rpc/support/manual-clock.js';
import { FakeServer } from '../support/fake-server.js';
import { FakeTree } from '../support/fake-tree.js';
import { outcome, settled, TestContext } from '../support/rig.js';

const auth = (credential: UserCredential) => decodeAuthSys(Buffer.from(credential.body));

t.test('AUTH_SYS carries 16 groups at the most, and not the gid again', (t) => {
  const credentials = new Credentials({ machineName: 'm', now: () => 0 });
  const groups = Array.from({ length: 40 }, (_, i) => i);
  const sent = auth(credentials.of(7, 3, groups));
  t.same(sent, { machineName: 'm', uid: 7, gid: 3, groups: [0, 1, 2, ...groups.slice(4, 17)] });
  t.end();
});

t.test('of more groups than 16, those of the object that is asked for go along', (t) => {
  const groups = Array.from({ length: 40 }, (_, i) => 100 + i);
  const credentials = new Credentials({ machineName: 'm', now: () => 0, groupsOf: () => groups });
  const caller = credentials.caller(new TestContext(7, 77));
  const sent = (of: Caller) => auth(of.credential).groups;
  t.same(sent(caller), groups.slice(0, 16));
  t.equal(withGroups(caller, 105), caller, 'one that is sent anyway');
  t.equal(withGroups(caller, 9999), caller, 'one that is not the caller’s');
  t.equal(withGroups(caller, undefined, 7), caller, 'none, and the primary one');
  const eighteenth = withGroups(caller, 117);
  t.same(sent(eighteenth), [117, ...groups.slice(0, 15)]);
  t.equal(withGroups(eighteenth, 117), eighteenth);
  t.equal(withGroups(caller, 117).credential, eighteenth.credential, 'the same credential each time');
  t.same(sent(withGroups(caller, 139, 117, undefined, 3)), [117, 139, ...groups.slice(0, 14)]);
  t.equal(withGroups(caller, 139, 117).credential, withGroups(caller, 117, 139).credential);
  t.equal(withGroups(eighteenth, 139).credential.groups[0], 139, 'another object, other groups');
  t.end();
});

t.test('sixteen groups and the primary one among them are all sent, whatever is asked for', (t) => {
  const groups = [7, ...Array.from({ length: 16 }, (_, i) => 100 + i), 100];
  const credentials = new Credentials({ machineName: 'm', now: () => 0, groupsOf: () => groups });
  const caller = credentials.caller(new TestContext(7, 77));
  t.same(auth(caller.credential).groups, groups.slice(1, 17));
  t.equal(withGroups(caller, 115), caller);
  t.end();
});

t.test('equal credentials are the same object, different ones have different ids', (t) => {
  const credentials = new Credentials({ machineName: 'm', now: () => 0 });
  t.equal(credentials.of(1, 2, [3]), credentials.of(1, 2, [3, 2]));
  const ids = [credentials.of(1, 2, [3]), credentials.of(1, 2, []), credentials.of(1, 3, [3])].map(
    ({ id }) => id,
  );
  t.equal(new Set(ids).size, 3);
  t.end();
});

t.test('the groups of a thread are read once, and again for another user under the same thread id', (t) => {
  let reads = 0;
  const credentials = new Credentials({
    machineName: 'm',
    now: () => 1000,
    groupsOf: () => {
      reads++;
      return [50 + reads];
    },
  });
  const first = credentials.caller(new TestContext(1000, 77));
  t.equal(credentials.caller(new TestContext(1000, 77)).credential, first.credential);
  t.equal(reads, 1);
  const reused = credentials.caller(new TestContext(2000, 77));
  t.equal(reads, 2);
  t.same(auth(reused.credential).groups, [52]);
  t.equal(reused.tid, 77);
  t.end();
});

t.test('the kernel itself is nobody whose groups could be kept', (t) => {
  const asked: number[] = [];
  const groupsOf = (tid: number) => {
    asked.push(tid);
    return [];
  };
  const credentials = new Credentials({ machineName: 'm', now: () => 0, groupsOf });
  credentials.caller(new TestContext(1, 0));
  credentials.caller(new TestContext(1, 0));
  t.same(asked, [0, 0]);
  t.match(unattended(credentials.of(1, 1, [])), { cancellation: undefined, tid: 0 });
  t.end();
});

t.test('every NFS status has an errno that an application can know', (t) => {
  for (const status of Object.values(Status)) {
    if (status === Status.OK) continue;
    const errno = errnoOfStatus(status as ErrorStatus);
    t.ok(Number.isInteger(errno) && errno > 0 && errno < 512, statusName(status));
  }
  t.equal(errnoOfStatus(Status.NOTEMPTY), Errno.ENOTEMPTY);
  t.equal(errnoOfStatus(Status.NAMETOOLONG), Errno.ENAMETOOLONG);
  t.equal(errnoOfStatus(Status.DQUOT), Errno.EDQUOT);
  t.same([Status.STALE, Status.BADHANDLE, Status.NOENT].map(isStale), [true, true, false]);
  t.end();
});

t.test('what the RPC layer throws is EINTR, ETIMEDOUT or EIO; a bug stays a bug', (t) => {
  const errno = (error: unknown) => (rpcFailure(error) as FuseError).errno;
  t.equal(errno(new RpcCancelledError('x')), Errno.EINTR);
  t.equal(errno(new RpcTimeoutError('x', true)), Errno.ETIMEDOUT);
  t.equal(errno(new RpcTimeoutError('x', false)), Errno.EIO);
  t.equal(errno(new RpcClosedError('x')), Errno.EIO);
  const ours = new FuseError(Errno.EBUSY);
  t.equal(rpcFailure(ours), ours);
  t.equal(rpcFailure('not an error'), 'not an error');
  t.end();
});

t.test(
  'JUKEBOX is waited out with new calls, longer each time, unless the caller stops waiting',
  async (t) => {
    const server = new FakeServer();
    const clock = new ManualClock();
    const counters = new VfsCounters();
    const nfs = new NfsClient(server, clock, counters);
    const credentials = new Credentials({ machineName: 'm', now: () => 0 });
    const end = server.fail('GETATTR', Status.JUKEBOX);
    const args = { object: server.root.handle };
    const asked = nfs.call(GETATTR, args, unattended(credentials.of(1, 1, [])));
    const waits: number[] = [];
    for (let i = 0; i < 7; i++) {
      await settled();
      waits.push(clock.next ?? 0);
      clock.advance(clock.next ?? 0);
    }
    t.same(waits, [250, 500, 1000, 2000, 4000, 5000, 5000]);
    const context = new TestContext(1, 5);
    const waiting = nfs.call(GETATTR, args, credentials.caller(context));
    t.equal(await outcome(waiting), 'pending');
    context.cancel();
    t.equal(await outcome(waiting), Errno.EINTR);
    end();
    clock.advance(5000);
    t.equal((await asked).status, Status.OK);
  },
);

t.test('READ and WRITE sizes are what was asked for, within what both sides allow, in whole pages', (t) => {
  const MIB = 1 << 20;
  t.equal(transferSize(undefined, 0, 0, MIB), MIB, 'a server that says nothing');
  t.equal(transferSize(undefined, 65_536, 65_536, MIB), 65_536);
  t.equal(transferSize(undefined, 4 * MIB, 4 * MIB, MIB), MIB);
  t.equal(transferSize(32_768, MIB, MIB, MIB), 32_768);
  t.equal(transferSize(10_000, MIB, MIB, MIB), 8192);
  t.equal(transferSize(4 * MIB, MIB, 65_536, MIB), 65_536);
  t.equal(transferSize(1, MIB, MIB, MIB), 1024);
  t.end();
});

t.test('st_ino is the fileid; objects of another file system of the server never share one', (t) => {
  const tree = new FakeTree();
  const root = tree.attributes(tree.root);
  t.equal(inodeNumber(root, root.fsid), root.fileid);
  const other = { ...root, fsid: root.fsid + 1n };
  t.not(inodeNumber(other, root.fsid), root.fileid);
  const many = new Set<bigint>();
  for (let i = 0n; i < 1000n; i++) many.add(inodeNumber({ ...other, fileid: i }, root.fsid));
  t.equal(many.size, 1000);
  t.ok([...many].every((ino) => ino >= 0n && ino < 1n << 64n));
  t.end();
});

t.test('attributes as the kernel wants them: type bits, 512-byte blocks, our size and link count', (t) => {
  const tree = new FakeTree();
  const node = tree.file('f', 'x'.repeat(1000), 0o4755);
  const shown = toFuseAttributes(
    tree.attributes(node),
    { rootFsid: 7n, blksize: 4096, identity: undefined },
    2000n,
    0,
  );
  t.match(shown, { mode: 0o104755, size: 2000n, blocks: 2n, nlink: 0, blksize: 4096 });
  const view = { rootFsid: 7n, blksize: 4096, identity: undefined };
  const greatest = toFuseAttributes(tree.attributes(node), view, (1n << 64n) - 1n, 1);
  t.equal(greatest.size, (1n << 63n) - 1n, 'no more than the kernel can count');
  t.equal(direntType(FileType.DIR), 4);
  t.equal(direntType(FileType.LNK), 10);
  t.end();
});
