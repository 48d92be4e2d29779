import t from 'tap';
import { Errno, FuseError } from '../../../lib/fuse/contract/errno.js';
import { decodeAuthSys } from '../../../lib/rpc/auth/auth-sys.js';
import { Credentials } from '../../../lib/vfs/caller/caller.js';
import {
  Identity,
  type IdRange,
  isSameIdentity,
  MAX_ID,
  type Mounter,
  NOBODY,
  overlapOf,
  SAME_IDENTITY,
} from '../../../lib/vfs/caller/identity.js';
import { identityFor, mounterWith, outOfReach, ownCredential } from '../../../lib/vfs/caller/own-identity.js';
import { toFuseAttributes } from '../../../lib/vfs/kernel/fuse-attributes.js';
import { FakeTree } from '../support/fake-tree.js';
import { NO_CHANGES } from '../support/no-changes.js';
import { TestContext } from '../support/rig.js';

const range = (local: number, server: number, count: number): IdRange => ({ local, server, count });
const ROOT: Mounter = { uid: 0, gid: 0, complete: true, hasUid: () => true, hasGid: () => true };

function rules(uid: readonly IdRange[], gid: readonly IdRange[] = []) {
  return { uid: { everybody: undefined, ranges: uid }, gid: { everybody: undefined, ranges: gid } };
}

function oneUser(uid: number | undefined, gid: number | undefined, ranges: readonly IdRange[] = []) {
  return { uid: { everybody: uid, ranges }, gid: { everybody: gid, ranges: [] } };
}

function errnoOf(action: () => unknown): number | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (error instanceof FuseError) return error.errno;
    throw error;
  }
}

t.test('a range is translated id by id, in both directions, at its ends and between', (t) => {
  const { uid, gid } = new Identity(rules([range(100_000, 0, 3), range(0, 5000, 2)]), ROOT);
  const pairs = [
    [100_000, 0],
    [100_002, 2],
    [0, 5000],
    [1, 5001],
  ] as const;
  for (const [local, server] of pairs) {
    t.same([uid.ofCaller(local), uid.toServer(local), uid.toLocal(server)], [server, server, local]);
  }
  for (const local of [2, 99_999, 100_003, 5000, NOBODY, MAX_ID]) t.equal(uid.toServer(local), undefined);
  for (const server of [3, 4999, 5002, 100_000, MAX_ID]) t.equal(uid.toLocal(server), NOBODY);
  t.same([gid.toServer(42), gid.toLocal(42)], [42, 42], 'groups, of which nothing was said, stay');
  t.end();
});

t.test('ids keep all their 32 bits', (t) => {
  const { uid } = new Identity(rules([range(0, 0x8000_0000, 0x7fff_ffff), range(MAX_ID, 7, 1)]), ROOT);
  t.equal(uid.toServer(0x7fff_fffe), MAX_ID);
  t.equal(uid.toLocal(MAX_ID), 0x7fff_fffe);
  t.equal(uid.toLocal(7), MAX_ID);
  const whole = new Identity(rules([range(0, 0, MAX_ID + 1)]), ROOT);
  t.equal(whole.uid.toServer(MAX_ID), MAX_ID);
  const credentials = new Credentials({
    machineName: 'm',
    identity: whole,
    now: () => 0,
    groupsOf: () => [],
  });
  t.match(decodeAuthSys(Buffer.from(credentials.caller(new TestContext(MAX_ID, 1)).credential.body)), {
    uid: MAX_ID,
  });
  t.end();
});

t.test('there and back: among many ranges in any order, every id comes back as itself', (t) => {
  const ranges = Array.from({ length: 340 }, (_, i) => range(i * 10, 1_000_000 - i * 20, 10));
  const { uid } = new Identity(rules([...ranges.slice(170), ...ranges.slice(0, 170)]), ROOT);
  let wrong = 0;
  for (let local = 0; local < 3400; local++) if (uid.toLocal(uid.toServer(local) ?? -1) !== local) wrong++;
  t.equal(wrong, 0);
  t.end();
});

t.test('ranges with an id in common are found, on either side', (t) => {
  t.equal(overlapOf([range(0, 100, 10), range(10, 110, 10), range(30, 90, 10)]), undefined);
  t.equal(overlapOf([]), undefined);
  t.match(overlapOf([range(5, 500, 2), range(0, 100, 6)]), {
    a: { local: 0 },
    b: { local: 5 },
    side: 'local',
  });
  t.match(overlapOf([range(0, 100, 6), range(50, 105, 1)]), { b: { local: 50 }, side: 'server' });
  t.end();
});

t.test('who has no counterpart gets EOVERFLOW; chown to one without gets EINVAL', (t) => {
  const identity = new Identity(rules([range(0, 5000, 1)], [range(0, 6000, 1)]), ROOT);
  const of = (uid: number, gid: number) => () => identity.callerIds({ uid, gid, groups: [] });
  t.same(of(0, 0)(), { uid: 5000, gid: 6000, groups: [] });
  t.equal(errnoOf(of(1, 0)), Errno.EOVERFLOW);
  t.equal(errnoOf(of(0, 1)), Errno.EOVERFLOW);
  const chown = (uid: number | undefined, gid: number | undefined) => () =>
    identity.ownersToServer({ ...NO_CHANGES, uid, gid });
  t.match(chown(0, undefined)(), { uid: 5000, gid: undefined });
  t.match(chown(undefined, 0)(), { uid: undefined, gid: 6000 });
  t.equal(errnoOf(chown(1, 0)), Errno.EINVAL);
  t.equal(errnoOf(chown(0, NOBODY)), Errno.EINVAL, 'nobody is a way to show, not somebody to give to');
  const chmod = { ...NO_CHANGES, mode: 0o600 };
  t.equal(identity.ownersToServer(chmod), chmod, 'other changes pass as they are');
  t.end();
});

t.test('credentials are made of the server’s ids; groups without a counterpart stay away', (t) => {
  const identity = new Identity(rules([range(1000, 0, 10)], [range(1000, 0, 10)]), ROOT);
  const groupsOf = () => [1003, 5, 1004];
  const credentials = new Credentials({ machineName: 'm', identity, now: () => 0, groupsOf });
  const caller = credentials.caller(new TestContext(1001, 77));
  t.match(decodeAuthSys(Buffer.from(caller.credential.body)), { uid: 1, gid: 1, groups: [3, 4] });
  t.equal(credentials.caller(new TestContext(1001, 77)).credential, caller.credential);
  t.equal(
    errnoOf(() => credentials.caller(new TestContext(5, 77))),
    Errno.EOVERFLOW,
  );
  t.end();
});

t.test('uid= and gid=: all calls are one user’s, whose files read as the mounter’s', (t) => {
  const mounter: Mounter = { ...ROOT, uid: 500, gid: 600 };
  const identity = new Identity(oneUser(1000, 1001), mounter);
  for (const uid of [0, 500, 7]) {
    t.same(identity.callerIds({ uid, gid: 7, groups: [8, 9] }), { uid: 1000, gid: 1001, groups: [] });
  }
  t.same([identity.uid.toLocal(1000), identity.gid.toLocal(1001)], [500, 600]);
  t.same([identity.uid.toLocal(0), identity.uid.toLocal(33)], [0, 33], 'others are who they are');
  t.same(
    [identity.uid.toLocal(500), identity.gid.toLocal(600)],
    [NOBODY, NOBODY],
    'but not the mounter, who is another there',
  );
  t.same([identity.uid.toServer(500), identity.uid.toServer(1000)], [1000, 1000]);
  t.equal(identity.uid.toServer(33), 33, 'whether it may be given away is the server’s to say');
  t.end();
});

t.test('idmapped: everybody is the one user, also the caller whom the kernel does not name', (t) => {
  const nobodySaid = { uid: 0xffff_ffff, gid: 0xffff_ffff, groups: [] };
  const asked = { uid: 33, gid: 33, groups: [] };
  const told = new Identity(oneUser(1000, 1001), ROOT);
  t.ok(told.claimOf(asked), 'rights are checked here, by attributes of this moment');
  const identity = new Identity({ ...oneUser(1000, 1001), idmapped: true }, ROOT);
  for (const caller of [nobodySaid, asked]) {
    t.same(identity.callerIds(caller), { uid: 1000, gid: 1001, groups: [] });
    t.equal(identity.claimOf(caller), undefined, 'the kernel alone can check');
  }
  t.end();
});

t.test('uid= alone leaves groups as they are, and the other way round', (t) => {
  const local = { uid: 5, gid: 6, groups: [7, 8] };
  t.same(new Identity(oneUser(1000, undefined), ROOT).callerIds(local), { ...local, uid: 1000 });
  t.same(new Identity(oneUser(undefined, 1000), ROOT).callerIds(local), { uid: 5, gid: 1000, groups: [] });
  t.end();
});

t.test('uid= where the mounter is the same on both sides changes nobody’s name', (t) => {
  const { uid } = new Identity(oneUser(0, undefined), ROOT);
  t.same([uid.toLocal(0), uid.toLocal(33), uid.toServer(0), uid.toServer(33)], [0, 33, 0, 33]);
  t.end();
});

t.test('uid= in a namespace: what it cannot show is nobody’s, or the mounter’s if it has no nobody', (t) => {
  const within = (map: string): Mounter => {
    return { ...mounterWith(map, map), uid: 0, gid: 0 };
  };
  const podman = new Identity(oneUser(1000, 1000), within('0 1000 1\n 1 100000 65536\n')).uid;
  t.same([podman.toLocal(1000), podman.toLocal(0), podman.toLocal(33)], [0, NOBODY, 33]);
  t.equal(podman.toLocal(200_000), NOBODY);
  const single = new Identity(oneUser(1000, 1000), within('         0       1000          1\n')).uid;
  t.same([single.toLocal(1000), single.toLocal(0), single.toLocal(33)], [0, 0, 0]);
  t.end();
});

t.test('without options, in a namespace: what it cannot show is nobody’s, if it has a nobody', (t) => {
  const map = '0 1000 1\n 1 100000 65536\n';
  const podman = new Identity(SAME_IDENTITY, { ...mounterWith(map, map), uid: 0, gid: 0 });
  t.same([podman.uid.toLocal(33), podman.gid.toLocal(33)], [33, 33]);
  t.same([podman.uid.toLocal(200_000), podman.gid.toLocal(200_000)], [NOBODY, NOBODY]);
  t.same([podman.uid.toServer(33), podman.uid.ofCaller(33)], [33, 33]);
  t.ok(podman.showsOwner({ uid: 200_000, gid: 200_000 }), 'so that the kernel leaves it to the server');
  t.end();
});

t.test('without options, in a namespace of one user: only groups read as one’s own', (t) => {
  const map = '999 999 1\n';
  const single = new Identity(SAME_IDENTITY, { ...mounterWith(map, map), uid: 999, gid: 999 });
  t.same([single.gid.toLocal(999), single.gid.toLocal(5000)], [999, 999]);
  t.same(
    [single.uid.toLocal(999), single.uid.toLocal(0)],
    [999, 0],
    'nobody else’s file looks like one’s own',
  );
  t.ok(single.showsOwner({ uid: 999, gid: 5000 }));
  t.notOk(single.showsOwner({ uid: 0, gid: 999 }));
  t.end();
});

t.test('groups that a namespace cannot name: all of the mounter’s outside of it, never nobody’s', (t) => {
  const map = '999 999 1\n';
  const mounter = { ...mounterWith(map, map), uid: 999, gid: 999 };
  const groupsOf = (outerGroups: readonly number[] | undefined, groups: readonly number[]) =>
    new Identity({ ...SAME_IDENTITY, outerGroups }, mounter).callerIds({ uid: 999, gid: 999, groups }).groups;
  t.same(groupsOf([5000, 6000], [NOBODY, NOBODY]), [5000, 6000]);
  t.same(groupsOf(undefined, [999, NOBODY]), [999]);
  t.same(groupsOf([5000], [999]), [999], 'who has none of them has none');
  const whole = { ...mounter, complete: true };
  const ids = { uid: 999, gid: 999, groups: [NOBODY] };
  t.same(
    new Identity(SAME_IDENTITY, whole).callerIds(ids).groups,
    [NOBODY],
    'on the machine it is a group like any other',
  );
  t.end();
});

t.test('uid= together with ranges: calls are one user’s, owners read by the ranges', (t) => {
  const { uid } = new Identity(oneUser(1000, 1000, [range(33, 1000, 1)]), ROOT);
  t.same([uid.ofCaller(5), uid.toLocal(1000), uid.toLocal(5)], [1000, 33, NOBODY]);
  t.same([uid.toServer(33), uid.toServer(5)], [1000, undefined]);
  t.end();
});

t.test('attributes for the kernel name the owner by this machine’s ids', (t) => {
  const tree = new FakeTree();
  const attributes = { ...tree.attributes(tree.file('f', '')), uid: 5000, gid: 6001 };
  const identity = new Identity(rules([range(0, 5000, 1)], [range(0, 6000, 1)]), ROOT);
  const view = { rootFsid: 7n, blksize: 4096, identity };
  t.match(toFuseAttributes(attributes, view, 0n, 1), { uid: 0, gid: NOBODY });
  t.match(toFuseAttributes(attributes, { ...view, identity: undefined }, 0n, 1), { uid: 5000, gid: 6001 });
  t.end();
});

t.test('without options there is nothing that could translate', (t) => {
  t.equal(identityFor(SAME_IDENTITY), undefined);
  t.ok(isSameIdentity(SAME_IDENTITY));
  t.notOk(isSameIdentity(rules([], [range(0, 1, 1)])));
  t.end();
});

t.test('mounting itself is done as the user that the calls will be made as', (t) => {
  const own = (of: Parameters<typeof ownCredential>[0]) => decodeAuthSys(Buffer.from(ownCredential(of).body));
  t.equal(own(SAME_IDENTITY).uid, process.getuid?.());
  t.match(own(oneUser(1000, 1001)), { uid: 1000, gid: 1001, groups: [] });
  t.match(own(rules([range(4_000_000, 0, 1)])), { uid: NOBODY, gid: NOBODY }, 'who is nobody there');
  t.end();
});

t.test('a directory is out of reach if only its owner, whom nobody here is, keeps the user from it', (t) => {
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  const alone = { uid, gid, complete: false, hasUid: (id: number) => id === uid, hasGid: () => true };
  const reach = (owner: number, group: number, mode: number, who: Mounter = alone) =>
    outOfReach(SAME_IDENTITY, { uid: owner, gid: group, mode }, who)?.uid;
  const [other, otherGroup] = [uid + 1, 4_000_000];
  t.equal(reach(other, otherGroup, 0o002), uid, 'its mode would let others in');
  t.equal(reach(other, otherGroup, 0o775), undefined, 'its mode keeps them out as well');
  t.equal(reach(other, gid, 0o020), uid, 'as its group');
  t.equal(reach(other, gid, 0o757), undefined);
  t.equal(reach(uid, otherGroup, 0o777), undefined, 'its owner is here');
  t.equal(reach(other, otherGroup, 0o002, { ...alone, complete: true }), undefined, 'everybody is');
  const noGroup = { ...alone, hasGid: () => false };
  t.equal(reach(uid, otherGroup, 0o200, noGroup), uid, 'its group is not');
  t.equal(reach(uid, otherGroup, 0o577, noGroup), undefined);
  t.end();
});
