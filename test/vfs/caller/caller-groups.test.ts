/** Supplementary groups of callers: from /proc where it shows that very thread, else those of groups=. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { decodeAuthSys } from '../../../lib/rpc/auth/auth-sys.js';
import { Credentials } from '../../../lib/vfs/caller/caller.js';
import {
  CallerGroups,
  type CallerGroupsOptions,
  type ThreadIds,
} from '../../../lib/vfs/caller/caller-groups.js';
import { TestContext } from '../support/rig.js';

const TID = 77;
const GROUPS = [51, 52];
/** Of a user 1000 with groups. */
const thread = (uids = [1000, 1000, 1000, 1000], gids = [1000, 1000, 1000, 1000]): ThreadIds => ({
  uids,
  gids,
  groups: GROUPS,
});

function groupsWith(options: Omit<CallerGroupsOptions, 'log'>) {
  const warnings: string[] = [];
  const log = { warn: (message: string) => void warnings.push(message) };
  return { groups: new CallerGroups({ log, ...options }), warnings };
}

t.test('groups come from /proc, and none from where there is no such thread', async (t) => {
  const { groups, warnings } = groupsWith({});
  const own = groups.of(process.pid, process.geteuid?.() ?? 0, process.getegid?.() ?? 0);
  // getgroups(2) of Node adds the effective group, which /proc does not list.
  const others = (of: readonly number[]) => of.filter((group) => group !== process.getegid?.()).sort();
  t.same(others(own), others(process.getgroups?.() ?? []));
  t.same(warnings, []);
  const child = spawn('true');
  await once(child, 'exit');
  t.same(groups.of(child.pid ?? 0, 0, 0), []);
  t.match(warnings, [/^\/proc does not show a caller \(uid 0, gid 0\).*groups=GID:GID/]);
});

t.test(
  'a caller in another PID namespace has the groups that are named, and is told of once if there are none',
  (t) => {
    const read = () => thread();
    const named = groupsWith({ read, ofUnseen: [7] });
    t.same(named.groups.of(0, 1000, 1000), [7]);
    t.same(named.groups.of(TID, 1000, 1000), GROUPS, 'whose own can be read has these, and no other');
    t.same(named.warnings, []);
    t.equal(named.groups.unseen, 1);

    const unnamed = groupsWith({ read });
    t.same([unnamed.groups.of(0, 1000, 1001), unnamed.groups.of(0, 2000, 2000)], [[], []]);
    t.equal(unnamed.warnings.length, 1);
    t.match(
      unnamed.warnings[0],
      /^A caller \(uid 1000, gid 1001\) runs in another PID namespace.*groups=GID:GID/,
    );
    t.end();
  },
);

t.test('nobody is looked for where the kernel does not tell who asks', (t) => {
  let reads = 0;
  const read = () => {
    reads += 1;
    return thread();
  };
  const { groups, warnings } = groupsWith({ read, idmapped: true });
  t.same([groups.of(TID, 0xffff_ffff, 0xffff_ffff), groups.of(0, 33, 33)], [[], []]);
  t.same({ reads, warnings, unseen: groups.unseen }, { reads: 0, warnings: [], unseen: 0 });
  t.end();
});

t.test('the groups of a process with other ids are not taken for the caller’s', (t) => {
  const cases: [string, ThreadIds, boolean][] = [
    ['the same ids', thread(), true],
    ['access(2), by the real ids', thread([1000, 0, 0, 0], [1000, 0, 0, 0]), true],
    ['setfsuid(2)', thread([0, 0, 0, 1000], [0, 0, 0, 1000]), true],
    ['another user', thread([1001, 1001, 1001, 1001]), false],
    ['another group', thread(undefined, [5, 5, 5, 5]), false],
    ['a saved id only', thread([0, 0, 1000, 0]), false],
  ];
  for (const [what, ids, isCaller] of cases) {
    const { groups } = groupsWith({ read: () => ids, ofUnseen: [7] });
    t.same(groups.of(TID, 1000, 1000), isCaller ? GROUPS : [7], what);
  }
  t.end();
});

t.test('a mount that somebody else has made believes /proc until it does not show a caller', (t) => {
  let shown: ThreadIds | undefined = thread();
  const read = () => shown;
  const { groups, warnings } = groupsWith({ read, madeElsewhere: true });
  t.same(groups.of(TID, 1000, 1000), GROUPS);
  shown = undefined;
  t.same(groups.of(TID, 1000, 1000), []);
  shown = thread();
  t.same(groups.of(TID, 1000, 1000), [], 'numbers are those of another PID namespace');
  t.equal(warnings.length, 1);
  const named = groupsWith({ read, madeElsewhere: true, ofUnseen: [7] });
  t.same(named.groups.of(TID, 1000, 1000), [7], 'as groups= says from the beginning');
  t.end();
});

t.test('the kernel’s word on a group counts for the request that it comes with', (t) => {
  const groupsOf = () => [5];
  const credentials = new Credentials({ machineName: 'm', now: () => 0, groupsOf });
  const sent = (directoryGroup?: number) => {
    const { credential } = credentials.caller(Object.assign(new TestContext(1000, TID), { directoryGroup }));
    return decodeAuthSys(Buffer.from(credential.body)).groups;
  };
  t.same(sent(9), [9, 5]);
  t.same(sent(5), [5]);
  t.same(sent(), [5], 'and not for the next');
  t.end();
});
