/**
 * The daemon runs in a PID namespace beside the callers', as with a sidecar or a mount made for a pod. It cannot read the
 * callers' groups and sends those that groups= names. For a new object the kernel's word on its group counts.
 */
import { constants } from 'node:fs';
import { chmod, chown, mkdir, writeFile } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { EmbeddedServer } from '../../lib/server/index.js';
import { Agent, errnoOf } from '../support/agent.js';
import { publicFolder } from '../support/folders.js';
import { openPlace } from '../support/places.js';
import { type Background, mustRun, run, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

const { O_RDONLY } = constants;
const DONE = 'no error';
const ANNA = 31_001;
const BERT = 31_002;
const STAFF = 32_001;
/** A PID namespace with its own /proc. The mount namespace is new for /proc alone: all other mounts are seen outside too. */
const BESIDE = [
  ...['unshare', '--pid', '--fork', '--kill-child', '--mount', '--propagation', 'unchanged'],
  ...['sh', '-c', 'mount --make-private /proc && mount -t proc proc /proc && exec "$@"', 'sh'],
];

interface Beside {
  readonly mnt: string;
  readonly serving: Background;
  /** An agent outside of the daemon's namespace. */
  user(uid: number, groups: readonly number[]): Promise<Agent>;
}

type Maker = 'daemon' | 'helper';

/** `helper`: the mount is made outside, and its descriptor handed in. */
async function besideCallers(t: Test, maker: Maker, options: readonly string[]): Promise<Beside> {
  const scratch = publicFolder();
  const place = await openPlace('root');
  const served = join(scratch.path, 'served');
  const shared = join(scratch.path, 'shared');
  const mnt = join(shared, 'mnt');
  await mkdir(served);
  await mkdir(mnt, { recursive: true });
  await mustRun(['mount', '--bind', shared, shared]);
  await mustRun(['mount', '--make-shared', shared]);
  const server = await EmbeddedServer.start({ path: served, rootSquash: false });
  t.teardown(async () => {
    await run(['umount', '-l', mnt]);
    await serving?.stop();
    await server.close();
    await run(['umount', '-l', shared]);
    await place.close();
    await scratch.remove();
  });
  await put(join(served, 'for-staff'), 0o640);
  await mkdir(join(served, 'team'));
  await chown(join(served, 'team'), 0, STAFF);
  await chmod(join(served, 'team'), 0o2775);
  const target = '127.0.0.1:/export';
  const list = [
    'allow_other',
    `port=${server.port},mountport=${server.port},nlmport=${server.port}`,
    ...options,
  ].join(',');
  const mount = (at: string) => [...BESIDE, ...place.product, 'mount', '-f', '-o', list, target, at];
  const kernel = 'fd=3,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,nosuid,nodev';
  const helper = `exec 3<>/dev/fuse && mount -i -t fuse.nfs-fuse -o ${kernel} ${target} ${mnt} && exec "$@"`;
  const serving = start(maker === 'daemon' ? mount(mnt) : ['sh', '-c', helper, 'sh', ...mount('/dev/fd/3')]);
  await until('it is served', () => {
    if (serving.outcome !== undefined) throw new Error(serving.output);
    return serving.output.includes('is mounted on');
  });
  return {
    mnt,
    serving,
    user: async (uid, groups) => {
      const agent = untilEnd(t, await Agent.start({ cwd: mnt }));
      await agent.become(uid, uid, groups);
      return agent;
    },
  };
}

async function put(path: string, mode: number): Promise<void> {
  await writeFile(path, 'for the staff');
  await chown(path, 0, STAFF);
  await chmod(path, mode);
}

const warnings = ({ serving }: Beside) =>
  serving.output.match(/supplementary groups are unknown/g)?.length ?? 0;

for (const maker of ['daemon', 'helper'] as const) {
  t.test(
    `made by the ${maker}: without groups= the groups of callers outside are lost, and the log says so once`,
    async (t) => {
      const beside = await besideCallers(t, maker, []);
      const anna = await beside.user(ANNA, [STAFF]);
      t.equal(await errnoOf(anna.open('for-staff', O_RDONLY)), 'EACCES');
      const bert = await beside.user(BERT, [STAFF]);
      t.equal(await errnoOf(bert.open('for-staff', O_RDONLY)), 'EACCES');
      await until('it is told', () => warnings(beside) > 0);
      t.match(beside.serving.output, /-o groups=GID:GID/);
      t.equal(warnings(beside), 1);
    },
  );

  t.test(`made by the ${maker}: groups= names the groups of callers outside`, async (t) => {
    const beside = await besideCallers(t, maker, [`groups=4:${STAFF}`]);
    const anna = await beside.user(ANNA, [STAFF]);
    t.equal((await anna.readFile('for-staff')).toString(), 'for the staff');
    await anna.mkdir('team/folder');
    t.equal((await anna.stat('team/folder')).gid, STAFF);
    const bert = await beside.user(BERT, []);
    t.equal(
      await errnoOf(bert.open('for-staff', O_RDONLY)),
      'EACCES',
      'the kernel keeps out a caller that is not in the group',
    );
    t.equal(warnings(beside), 0);
  });
}

t.test('groups= gives nothing to callers whose own groups can be read', async (t) => {
  const beside = await besideCallers(t, 'daemon', [`groups=${STAFF}`]);
  const inside = async (...groups: string[]) => {
    const daemon = await mustRun(['pgrep', '-P', String(beside.serving.pid)]);
    const enter = ['nsenter', '--target', daemon.trim(), '--pid', '--mount'];
    const become = ['setpriv', `--reuid=${ANNA}`, `--regid=${ANNA}`, ...groups];
    return run([...enter, ...become, 'cat', join(beside.mnt, 'for-staff')], { cwd: '/' });
  };
  const without = await inside('--clear-groups');
  t.equal(without.status, 1);
  t.match(without.stderr.toString(), /Permission denied/);
  t.equal((await inside('--groups', String(STAFF))).stdout.toString(), 'for the staff');
});

t.test('the kernel names the group of a new object (Linux 6.3)', async (t) => {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  const tells = major > 6 || (major === 6 && minor >= 3);
  const beside = await besideCallers(t, 'daemon', []);
  const anna = await beside.user(ANNA, [STAFF]);
  const makes: Record<string, () => Promise<unknown>> = {
    file: () => anna.writeFile('team/file', 'x'),
    mkdir: () => anna.mkdir('team/folder'),
    symlink: () => anna.symlink('target', 'team/link'),
    mkfifo: () => anna.mkfifo('team/fifo'),
  };
  for (const [what, make] of Object.entries(makes))
    t.equal(await errnoOf(make()), tells ? DONE : 'EACCES', what);
  const bert = await beside.user(BERT, []);
  t.equal(await errnoOf(bert.mkdir('team/berts')), 'EACCES', 'not to a group that the caller is not in');
});
