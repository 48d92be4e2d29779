/**
 * uid=, gid= and allow_other: all callers are one user of the server, and still nobody gets more than owner, group and
 * mode give. The truth is a local directory with the same owners and modes; nobody can do here what the one user may not do
 * on the server.
 */
import { constants } from 'node:fs';
import { chmod, chown, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Agent, errnoOf } from '../support/agent.js';
import { type EmbeddedMount, embeddedMount } from '../support/embedded-mount.js';
import { publicFolder } from '../support/folders.js';
import { run, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

const { O_APPEND, O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, W_OK } = constants;
const DONE = 'no error';
/** The server's user and group that all calls are made with. */
const THE_ONE = 5000;
const OWNER = 31_001;
const MEMBER = 31_002;
const OTHER = 31_003;
const STAFF = 32_001;
/** The ids with which the one user's objects are shown. */
const SHOWN = [`idmap-uid=${OWNER}:${THE_ONE}:1`, `idmap-gid=${STAFF}:${THE_ONE}:1`];
const ONE_USER = ['allow_other', `uid=${THE_ONE}`, `gid=${THE_ONE}`];

type CallerName = 'owner' | 'member' | 'other' | 'root';
type Act = (agent: Agent, path: string) => Promise<unknown>;

async function opens(agent: Agent, path: string, flags: number): Promise<void> {
  await agent.closeFd(await agent.open(path, flags));
}

async function appends(agent: Agent, path: string): Promise<void> {
  const fd = await agent.open(path, O_WRONLY | O_APPEND);
  await agent.write(fd, 'more');
  await agent.closeFd(fd);
}

/** access(2) answers yes or no; after a no, open(2) says the error. */
async function accesses(agent: Agent, path: string): Promise<void> {
  if (!(await agent.access(path, W_OK))) await agent.open(path, O_WRONLY);
}

const FILE_ACTS: Readonly<Record<string, Act>> = {
  read: (agent, path) => agent.readFile(path),
  append: appends,
  'open for both': (agent, path) => opens(agent, path, O_RDWR),
  'open and create': (agent, path) => opens(agent, path, O_WRONLY | O_CREAT),
  'open and empty': (agent, path) => opens(agent, path, O_WRONLY | O_TRUNC),
  'read and empty': (agent, path) => opens(agent, path, O_RDONLY | O_TRUNC),
  truncate: (agent, path) => agent.truncate(path, 1),
  access: accesses,
  chmod: (agent, path) => agent.chmod(path, 0o755),
  'give to its group': (agent, path) => agent.chown(path, -1, STAFF),
  touch: (agent, path) => agent.utimens(path, 'now', 'now'),
  'set times': (agent, path) => agent.utimens(path, 1_000_000_000n, 2_000_000_000n),
  execute: (agent, path) => agent.execute([`./${path}`]),
};
/** No mode keeps the owner from writing where others may: servers let an owner truncate a file whatever its mode. */
const FILE_MODES = [0o600, 0o640, 0o604, 0o606, 0o666, 0o711, 0o750];

/** Of a directory that has a file and a directory of the one user in it. */
const FOLDER_ACTS: Readonly<Record<string, Act>> = {
  list: (agent, path) => agent.list(path),
  'look up': (agent, path) => agent.stat(`${path}/file`),
  enter: (agent, path) => agent.execute(['true'], path),
  create: (agent, path) => opens(agent, `${path}/new`, O_WRONLY | O_CREAT),
  mkdir: (agent, path) => agent.mkdir(`${path}/new`),
  symlink: (agent, path) => agent.symlink('target', `${path}/new`),
  mkfifo: (agent, path) => agent.mkfifo(`${path}/new`),
  link: (agent, path) => agent.link(`${path}/file`, `${path}/new`),
  unlink: (agent, path) => agent.unlink(`${path}/file`),
  rmdir: (agent, path) => agent.rmdir(`${path}/folder`),
  rename: (agent, path) => agent.rename(`${path}/file`, `${path}/new`),
  'rename over': (agent, path) => agent.rename(`${path}/folder`, `${path}/other`),
  'move away': (agent, path) => agent.rename(`${path}/folder`, `${path}.moved`),
};
const FOLDER_MODES = [0o700, 0o750, 0o755, 0o777, 0o1777, 0o773, 0o776];

interface Case {
  readonly name: string;
  readonly act: string;
  readonly mode: number;
  readonly isFolder: boolean;
  readonly caller: CallerName;
}

function casesFor(callers: readonly CallerName[]): Case[] {
  const kinds = [
    { acts: Object.keys(FILE_ACTS), modes: FILE_MODES, isFolder: false },
    { acts: Object.keys(FOLDER_ACTS), modes: FOLDER_MODES, isFolder: true },
  ];
  const all: Omit<Case, 'name'>[] = kinds.flatMap(({ acts, modes, isFolder }) =>
    acts.flatMap((act) =>
      modes.flatMap((mode) => callers.map((caller) => ({ act, mode, isFolder, caller }))),
    ),
  );
  return all.map((one, index) => ({ ...one, name: `object${index}` }));
}

/** Every case has objects of its own, so that none sees what another has done. */
async function prepare(directory: string, cases: readonly Case[], uid: number, gid: number): Promise<void> {
  const give = async (path: string, mode: number) => {
    await chown(path, uid, gid);
    await chmod(path, mode);
  };
  await give(directory, 0o777);
  for (const { name, mode, isFolder } of cases) {
    const path = join(directory, name);
    if (isFolder) {
      await mkdir(path);
      await writeFile(join(path, 'file'), 'x');
      await give(join(path, 'file'), 0o666);
      for (const folder of ['folder', 'other']) {
        await mkdir(join(path, folder));
        await give(join(path, folder), 0o755);
      }
    } else await writeFile(path, '#!/bin/sh\nexit 0\n');
    await give(path, mode);
  }
}

type Agents = Readonly<Partial<Record<CallerName, Agent>>>;

async function verdict(agents: Agents, caller: CallerName, { act, name, isFolder }: Case): Promise<string> {
  const does = (isFolder ? FOLDER_ACTS : FILE_ACTS)[act];
  const agent = agents[caller];
  if (does === undefined || agent === undefined) throw new Error(`no such act or caller: ${act}, ${caller}`);
  return errnoOf(does(agent, name));
}

interface Ids {
  readonly uid: number;
  readonly gid: number;
  readonly groups?: readonly number[];
}

const LOCALLY: Readonly<Record<Exclude<CallerName, 'root'>, Ids>> = {
  owner: { uid: OWNER, gid: OWNER, groups: [STAFF] },
  member: { uid: MEMBER, gid: MEMBER, groups: [STAFF] },
  other: { uid: OTHER, gid: OTHER },
};

async function agentsIn(
  t: Test,
  cwd: string,
  callers: Readonly<Partial<Record<CallerName, Ids>>>,
): Promise<Agents> {
  const agents: Partial<Record<CallerName, Agent>> = {};
  for (const [name, { uid, gid, groups = [] }] of Object.entries(callers)) {
    const agent = untilEnd(t, await Agent.start({ cwd }));
    await agent.umask(0o022);
    if (uid !== 0) await agent.become(uid, gid, groups);
    agents[name as CallerName] = agent;
  }
  return agents;
}

/** The verdict on each case. The callers work side by side, on objects of their own. */
async function verdicts(agents: Agents, cases: readonly Case[], as?: CallerName): Promise<string[]> {
  const found = new Map<Case, string>();
  const work = async (caller: CallerName): Promise<void> => {
    for (const one of cases)
      if (one.caller === caller) found.set(one, await verdict(agents, as ?? caller, one));
  };
  const callers = new Set(cases.map(({ caller }) => caller));
  await Promise.all([...callers].map(work));
  return cases.map((one) => found.get(one) ?? 'not tried');
}

/** The verdicts of a local directory: done where both the caller and the one user may do it, otherwise the error. */
async function truth(t: Test, cases: readonly Case[]): Promise<string[]> {
  const asCaller = publicFolder();
  const asOwner = publicFolder();
  const folders = [asCaller, asOwner];
  t.teardown(() => Promise.all(folders.map((folder) => folder.remove())));
  for (const { path } of folders) await prepare(path, cases, OWNER, STAFF);
  const callers = await agentsIn(t, asCaller.path, LOCALLY);
  const owner = await agentsIn(t, asOwner.path, { owner: LOCALLY.owner });
  // The server takes root for the one user, and grants no more.
  const users = cases.filter(({ caller }) => caller !== 'root');
  const [allowed, own] = await Promise.all([verdicts(owner, cases, 'owner'), verdicts(callers, users)]);
  const ofCaller = new Map(users.map((one, index) => [one, own[index]]));
  return cases.map((one, index) => {
    const mine = ofCaller.get(one) ?? DONE;
    return mine === DONE ? (allowed[index] ?? '') : mine;
  });
}

/** Compares in one assertion, since there are hundreds of cases: every line tells a case and its verdict. */
async function compares(
  t: Test,
  path: string,
  callers: Readonly<Partial<Record<CallerName, Ids>>>,
  cases: readonly Case[],
  expected: readonly string[],
): Promise<void> {
  const agents = await agentsIn(t, path, callers);
  const found = await verdicts(agents, cases);
  const wrong = cases.flatMap(({ act, mode, isFolder, caller }, index) => {
    if (found[index] === expected[index]) return [];
    const what = `${isFolder ? 'folder' : 'file'} of mode ${mode.toString(8)}`;
    return [`${caller}: ${act}, ${what}: ${found[index]}, not ${expected[index]}`];
  });
  t.same(wrong, [], `${cases.length} cases`);
}

/** A mount that a helper has made without default_permissions: the kernel checks nothing. */
async function uncheckedMount(t: Test, { source, place }: EmbeddedMount, options: readonly string[]) {
  const scratch = publicFolder();
  const mnt = join(scratch.path, 'mnt');
  await mkdir(mnt);
  const target = `${source.host}:${source.exportPath}`;
  const kernel = 'fd=3,rootmode=40000,user_id=0,group_id=0,allow_other,nosuid,nodev';
  const helper = `exec 3<>/dev/fuse && mount -i -t fuse.nfs-fuse -o ${kernel} ${target} ${mnt} && exec "$@"`;
  const list = [...options, ...source.mountOptions].join(',');
  const serving = start([
    ...['sh', '-c', helper, 'sh'],
    ...[...place.product, 'mount', '-f', '-o', list, target, '/dev/fd/3'],
  ]);
  t.teardown(async () => {
    await run(['umount', '-l', mnt]);
    await serving.stop();
    await scratch.remove();
  });
  await until('it is served', () => {
    if (serving.outcome !== undefined) throw new Error(serving.output);
    return serving.output.includes('is mounted on /dev/fd/3');
  });
  return mnt;
}

t.test(
  'where ranges name the one user and its group, each caller gets what a local directory gives',
  async (t) => {
    const callers: readonly CallerName[] = ['owner', 'member', 'other', 'root'];
    const cases = casesFor(callers);
    const expected = await truth(t, cases);
    const ids = { ...LOCALLY, root: { uid: 0, gid: 0 } };
    for (const checked of [true, false]) {
      await t.test(
        checked ? 'with the kernel’s own check' : 'with a mount whose kernel checks nothing',
        async (t) => {
          const made = await embeddedMount(t, [...ONE_USER, ...SHOWN], { rootSquash: false });
          await prepare(made.folder, cases, THE_ONE, THE_ONE);
          if (checked) t.match(made.mount.entry?.options, /default_permissions/);
          const path = checked ? made.mount.path : await uncheckedMount(t, made, [...ONE_USER, ...SHOWN]);
          await compares(t, path, ids, cases, expected);
        },
      );
    }
  },
);

t.test(
  'without ranges the objects are the mounter’s, and other users have the rights of others',
  async (t) => {
    const cases = casesFor(['member', 'other', 'root']);
    const expected = await truth(t, cases);
    const { mount, folder } = await embeddedMount(t, ONE_USER, { rootSquash: false });
    await prepare(folder, cases, THE_ONE, THE_ONE);
    const ids = { ...LOCALLY, member: { uid: MEMBER, gid: MEMBER, groups: [0] }, root: { uid: 0, gid: 0 } };
    // The group's members are those of the mounter's group here, so that this one act names another group.
    const named = cases.filter(({ act }) => act !== 'give to its group');
    const truths = expected.filter((_, index) => cases[index]?.act !== 'give to its group');
    await compares(t, mount.path, ids, named, truths);
  },
);

t.test('a user with the number of the one user is a stranger like any other', async (t) => {
  const { mount, folder } = await embeddedMount(t, ONE_USER, { rootSquash: false });
  await writeFile(join(folder, 'file'), 'x');
  await chown(join(folder, 'file'), THE_ONE, THE_ONE);
  await chmod(join(folder, 'file'), 0o600);
  const { owner, other } = await agentsIn(t, mount.path, {
    owner: { uid: THE_ONE, gid: THE_ONE },
    other: { uid: 65_534, gid: 65_534 },
  });
  if (owner === undefined || other === undefined) throw new Error('no agents');
  t.equal(await errnoOf(appends(owner, 'file')), 'EACCES');
  await chown(join(folder, 'file'), 7777, THE_ONE);
  await chmod(join(folder, 'file'), 0o660);
  t.equal(await errnoOf(appends(other, 'file')), 'EACCES', 'nobody does not own what has no counterpart');
});

t.test(
  'a right that was taken away on the server is refused at once, whatever the kernel has cached',
  async (t) => {
    const { mount, folder } = await embeddedMount(t, [...ONE_USER, 'actimeo=600'], { rootSquash: false });
    const { other } = await agentsIn(t, mount.path, { other: LOCALLY.other });
    if (other === undefined) throw new Error('no agent');
    await mkdir(join(folder, 'folder'));
    await writeFile(join(folder, 'folder/file'), 'x');
    for (const path of ['folder/file', 'folder']) {
      await chown(join(folder, path), THE_ONE, THE_ONE);
      await chmod(join(folder, path), 0o777);
    }
    await appends(other, 'folder/file');
    await other.list('folder');
    await chmod(join(folder, 'folder/file'), 0o600);
    t.equal(await errnoOf(appends(other, 'folder/file')), 'EACCES', 'append');
    t.equal(await errnoOf(other.truncate('folder/file', 0)), 'EACCES', 'truncate');
    await chmod(join(folder, 'folder'), 0o755);
    t.equal(await errnoOf(other.unlink('folder/file')), 'EACCES', 'unlink');
    t.equal(await errnoOf(other.mkdir('folder/new')), 'EACCES', 'mkdir');
  },
);
