/**
 * -o idmapped: a mount that a container runtime idmaps for a pod with a user namespace of its own. The pod's root works in it as
 * the one user of the server, others get what the mode gives, and it goes on when its process is killed.
 */
import { closeSync, constants } from 'node:fs';
import { chmod, chown, mkdir, readlink, stat, writeFile } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { mountKernel } from '../../lib/fuse/index.js';
import { servingProcess } from '../keep/support/serving.js';
import { Agent, errnoOf } from '../support/agent.js';
import { type EmbeddedMount, embeddedMount } from '../support/embedded-mount.js';
import { publicFolder } from '../support/folders.js';
import { mustRun, type Outcome, run, start, until } from '../support/process.js';
import { projectRoot, python } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';

const { O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_WRONLY } = constants;
const IDMAP = join(projectRoot, 'test/support/idmapped.py');
const [major = 0, minor = 0] = release().split('.').map(Number);
const tooOld = (major < 6 || (major === 6 && minor < 12)) && 'FUSE mounts can be idmapped since Linux 6.12';
/** The server's user and group that everything is done as. */
const THE_ONE = 5000;
const ONE_USER = ['allow_other', `uid=${THE_ONE}`, `gid=${THE_ONE}`];
/** The host's ids of the pod's 0 to 65535. */
const FIRST = 300_000;
const COUNT = 65_536;
const DONE = 'no error';

/** A user namespace as a pod has it. */
interface Pod {
  /** Of its user namespace. */
  readonly namespace: string;
  /** `argv` as one of its users. */
  command(argv: readonly string[], uid?: number): string[];
  /** An agent of one of its users, in `folder`. */
  agent(folder: string, uid?: number): Promise<Agent>;
}

async function pod(t: Test): Promise<Pod> {
  const holder = untilEnd(t, start(['unshare', '-U', 'sleep', 'infinity']));
  const namespace = `/proc/${holder.pid}/ns/user`;
  const own = await readlink('/proc/self/ns/user');
  await until('the user namespace is there', async () => {
    if (holder.outcome) throw new Error(`unshare failed: ${holder.output}`);
    return (await readlink(namespace)) !== own;
  });
  for (const map of ['uid_map', 'gid_map'])
    await writeFile(`/proc/${holder.pid}/${map}`, `0 ${FIRST} ${COUNT}\n`);
  const scratch = untilEnd(t, publicFolder());
  const command = (argv: readonly string[], uid = 0) => [
    ...['nsenter', '-t', String(holder.pid), '-U', '-S', String(uid), '-G', String(uid)],
    ...argv,
  ];
  return {
    namespace,
    command,
    agent: async (folder, uid) => {
      const wrap = (argv: readonly string[]) => command(argv, uid);
      return untilEnd(t, await Agent.start({ command: wrap, cwd: folder, folder: scratch.path }));
    },
  };
}

/** Mounts once more, idmapped. */
function idmap(source: string, target: string, { namespace }: Pod): Promise<Outcome> {
  return run([python, IDMAP, source, target, namespace], { cwd: '/' });
}

/** Where the idmapped mount of a test is, which ends before the mount itself. */
async function place(t: Test): Promise<string> {
  const scratch = untilEnd(t, publicFolder());
  const target = join(scratch.path, 'volume');
  await mkdir(target);
  t.teardown(() => run(['umount', '-l', target]));
  return target;
}

/** A mount with `options`, a pod, and what the pod's runtime makes of the mount. */
async function scene(t: Test, options: readonly string[] = []) {
  const made = await embeddedMount(t, [...ONE_USER, 'idmapped', ...options]);
  await chown(made.folder, THE_ONE, THE_ONE);
  await made.mount.served();
  // Opening the directory brings its new owner.
  await made.mount.mustRun(['ls']);
  const users = await pod(t);
  const volume = await place(t);
  const { status, stdout } = await idmap(made.mount.path, volume, users);
  t.equal(status, 0, stdout.toString());
  return { ...made, users, volume };
}

/** A file that the server's one user owns. */
async function put({ onServer }: EmbeddedMount, name: string, mode: number): Promise<void> {
  await writeFile(onServer(name), 'content');
  await chown(onServer(name), THE_ONE, THE_ONE);
  await chmod(onServer(name), mode);
}

async function opens(agent: Agent, path: string, flags: number): Promise<void> {
  await agent.closeFd(await agent.open(path, flags));
}

t.test(
  'the root of a pod works in the idmapped mount, and owns what it makes',
  { skip: tooOld },
  async (t) => {
    const made = await scene(t);
    const root = await made.users.agent(made.volume);
    const mine = { uid: 0, gid: 0 };
    t.match(await root.lstat('.'), mine, 'files of the one user are the pod root’s');
    await root.writeFile('file', 'content');
    t.match(await root.lstat('file'), { ...mine, size: 7 });
    t.same(await root.readFile('file'), Buffer.from('content'));
    await root.mkdir('folder');
    await root.symlink('file', 'link');
    await root.link('file', 'folder/second');
    await root.rename('file', 'folder/renamed');
    await root.mknod('pipe', constants.S_IFIFO | 0o600, 0);
    await opens(root, 'exclusive', O_CREAT | O_EXCL | O_RDWR);
    t.same((await root.list('.')).map(String), ['exclusive', 'folder', 'link', 'pipe']);
    for (const name of ['folder', 'folder/renamed', 'link', 'pipe', 'exclusive'])
      t.match(await root.lstat(name), mine, name);
    await root.chmod('folder/renamed', 0o640);
    t.match(await root.lstat('folder/renamed'), { mode: 0o100640, nlink: 2 });
    await root.truncate('folder/renamed', 3);
    await root.utimens('folder/renamed', 1_000_000_000n, 2_000_000_000n);
    t.match(await root.lstat('folder/renamed'), { size: 3, mtimeNs: 2_000_000_000n });
    await root.chown('folder/renamed', 0, 0);
    t.equal(
      await errnoOf(root.chown('folder/renamed', 33, 33)),
      'EPERM',
      'the one user may give nothing away',
    );
    const { uid, gid, mode } = await stat(made.onServer('folder/renamed'));
    t.match({ uid, gid, mode }, { uid: THE_ONE, gid: THE_ONE, mode: 0o100640 }, 'on the server');
    await root.unlink('folder/second');
    await root.unlink('folder/renamed');
    await root.rmdir('folder');
    t.match(made.mount.log, /^(?!.*supplementary groups)/s, 'nobody’s groups are looked for');
  },
);

t.test('other users get what the mode gives, in the pod and outside', { skip: tooOld }, async (t) => {
  const made = await scene(t);
  for (const [name, mode] of [
    ['private', 0o600],
    ['readable', 0o644],
    ['open', 0o666],
  ] as const)
    await put(made, name, mode);
  await mkdir(made.onServer('shared'));
  await chown(made.onServer('shared'), THE_ONE, THE_ONE);
  await chmod(made.onServer('shared'), 0o1777);
  await put(made, 'shared/another’s', 0o666);
  const stranger = await made.mount.agent();
  await stranger.become(31_003, 31_003);
  const strangers: [string, Agent][] = [
    ['a user of the pod', await made.users.agent(made.volume, 33)],
    ['a user of the host, in the mount itself', stranger],
  ];
  for (const [who, agent] of strangers) {
    t.match(await agent.lstat('private'), { mode: 0o100600 }, who);
    const acts: [string, () => Promise<unknown>, string][] = [
      ['reads a private file', () => opens(agent, 'private', O_RDONLY), 'EACCES'],
      ['reads a readable file', () => opens(agent, 'readable', O_RDONLY), DONE],
      ['writes to it', () => opens(agent, 'readable', O_WRONLY), 'EACCES'],
      ['writes to an open file', () => opens(agent, 'open', O_WRONLY), DONE],
      ['makes a file where only the owner may', () => opens(agent, 'new', O_CREAT | O_WRONLY), 'EACCES'],
      ['makes a directory there', () => agent.mkdir('new'), 'EACCES'],
      ['takes a name away', () => agent.unlink('open'), 'EACCES'],
      ['renames', () => agent.rename('open', 'shared/open'), 'EACCES'],
      ['changes the mode', () => agent.chmod('open', 0o777), 'EPERM'],
      ['changes the owner', () => agent.chown('open', 33, 33), 'EPERM'],
      ['takes a name away against the sticky bit', () => agent.unlink('shared/another’s'), 'EPERM'],
      ['truncates a private file', () => agent.truncate('private', 0), 'EACCES'],
      ['makes a file where all may', () => opens(agent, 'shared/mine', O_CREAT | O_EXCL | O_RDWR), DONE],
    ];
    for (const [what, act, expected] of acts) t.equal(await errnoOf(act()), expected, `${who} ${what}`);
    const { uid } = await stat(made.onServer('shared/mine'));
    t.equal(uid, THE_ONE, 'made as the one user');
    const { status } = await made.mount.run(['rm', 'shared/mine']);
    t.equal(status, 0, 'root of the host acts as the one user, in the mount itself');
  }
  const outsider = untilEnd(t, await Agent.start({ cwd: made.volume }));
  t.equal(
    await errnoOf(opens(outsider, 'shared/root', O_CREAT | O_WRONLY)),
    'EOVERFLOW',
    'the host’s root has no id in the pod’s mount',
  );
});

t.test(
  'a mode that another client has taken back counts at the next open(2)',
  { skip: tooOld },
  async (t) => {
    const made = await scene(t, ['acregmin=600', 'acregmax=600', 'acdirmin=600', 'acdirmax=600']);
    await put(made, 'file', 0o644);
    await mkdir(made.onServer('folder'), { mode: 0o755 });
    await chown(made.onServer('folder'), THE_ONE, THE_ONE);
    const user = await made.users.agent(made.volume, 33);
    t.same(await user.readFile('file'), Buffer.from('content'));
    t.same(await user.list('folder'), []);
    await chmod(made.onServer('file'), 0o600);
    await chmod(made.onServer('folder'), 0o700);
    t.equal(await errnoOf(opens(user, 'file', O_RDONLY)), 'EACCES');
    t.equal(await errnoOf(user.list('folder')), 'EACCES');
    await chmod(made.onServer('file'), 0o644);
    await chmod(made.onServer('folder'), 0o755);
    const root = await made.users.agent(made.volume);
    await opens(root, 'file', O_RDONLY);
    t.same(await user.readFile('file'), Buffer.from('content'), 'and one that it has given');
    t.same(await root.list('folder'), [], 'nobody gets ESTALE');
  },
);

t.test('a mount without idmapped cannot be idmapped', { skip: tooOld }, async (t) => {
  const { mount } = await embeddedMount(t, ONE_USER);
  const { status, stdout } = await idmap(mount.path, await place(t), await pod(t));
  t.match({ status, stdout: stdout.toString() }, { status: 1, stdout: /^mount_setattr: EINVAL$/m });
});

t.test('the idmapped mount goes on when its process is killed', { skip: tooOld }, async (t) => {
  const made = await scene(t);
  const root = await made.users.agent(made.volume);
  const user = await made.users.agent(made.volume, 33);
  const fd = await root.open('held', O_CREAT | O_RDWR, 0o600);
  await root.pwrite(fd, 'before', 0);
  const dead = await servingProcess(made.mount);
  process.kill(dead, 'SIGKILL');
  await until('another process serves', async () => {
    const now = await servingProcess(made.mount);
    return now !== dead && now !== 0;
  });
  await root.pwrite(fd, ' after', 6);
  await root.fsync(fd);
  t.same(await root.pread(fd, 100, 0), Buffer.from('before after'));
  t.match(await root.lstat('held'), { uid: 0, gid: 0, size: 12 });
  await root.mkdir('new');
  t.match(await root.lstat('new'), { uid: 0, gid: 0 });
  t.equal(await errnoOf(opens(user, 'held', O_RDONLY)), 'EACCES');
  t.equal(await errnoOf(user.mkdir('another')), 'EACCES');
  t.match(await made.stats(), { takeovers: { deaths: 1 } });
});

t.test(
  'a descriptor that a helper has mounted can be served so that it may be idmapped',
  { skip: tooOld },
  async (t) => {
    const made = await embeddedMount(t);
    await chown(made.folder, THE_ONE, THE_ONE);
    const scratch = untilEnd(t, publicFolder());
    const mnt = join(scratch.path, 'helper');
    await mkdir(mnt);
    const mount = await mountKernel({
      mountpoint: mnt,
      source: '127.0.0.1:/export',
      allowOther: true,
      defaultPermissions: true,
    });
    t.teardown(() => run(['umount', '-l', mnt]));
    const options = [...made.source.mountOptions, ...ONE_USER, 'idmapped'].join(',');
    const target = `127.0.0.1:${made.source.exportPath}`;
    const argv = [...made.place.product, 'mount', '-f', '-o', options, target, '/dev/fd/3'];
    const serving = untilEnd(
      t,
      start(made.place.command(argv), { stdio: ['ignore', 'pipe', 'pipe', mount.fd] }),
    );
    closeSync(mount.fd);
    await until('it is served', () => {
      if (serving.outcome) throw new Error(serving.output);
      return serving.output.includes('is mounted on');
    });
    t.match(
      serving.output,
      /Without effect here: .*default_permissions.* With idmapped it has to pass default_permissions/,
    );
    const users = await pod(t);
    const volume = await place(t);
    t.equal((await idmap(mnt, volume, users)).status, 0);
    const root = await users.agent(volume);
    await root.writeFile('file', 'content');
    t.match(await root.lstat('file'), { uid: 0, gid: 0 });
    t.equal((await stat(made.onServer('file'))).uid, THE_ONE);
    await root.close();
    await mustRun(['umount', volume]);
  },
);
