/**
 * Other users of the machine: they can neither give orders to a mount nor answer in its name, and files that they prepare in
 * public folders are not used.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { publicFolder } from '../support/folders.js';
import {
  backgroundMount,
  DATA,
  type HeldServer,
  heldMount,
  heldServer,
  leaveUnwritten,
} from '../support/held-mount.js';
import { type Mount, mountsOf } from '../support/mount.js';
import { withoutFuse } from '../support/places.js';
import { type Background, mustRun, run, start, until } from '../support/process.js';
import { productFor, removeStaged } from '../support/stage.js';
import { untilEnd } from '../support/until-end.js';
import { watchersOf } from '../support/watchers.js';
import { nfsFuse, product, said } from './support/product.js';

t.teardown(() => removeStaged());

/** The user "nobody", who owns nothing here. */
const STRANGER = 65_534;
const asStranger = [
  ...['env', '-u', 'NODE_OPTIONS', '-u', 'XDG_RUNTIME_DIR'],
  ...['setpriv', `--reuid=${STRANGER}`, `--regid=${STRANGER}`, '--clear-groups'],
];

/** Runs a program in JavaScript as another user. */
function stranger(t: Test, program: string, ...args: string[]): Background {
  const running = untilEnd(t, start([...asStranger, process.execPath, '-e', program, ...args], { cwd: '/' }));
  return running;
}

const minorOf = (mount: Mount) => mount.entry?.device.split(':')[1] ?? '';

/** The control sockets of mounts in a place. */
function socketsOf({ place }: HeldServer): string[] {
  const folder = join(place.folder, 'nfs-fuse');
  return readdirSync(folder)
    .filter((name) => name.endsWith('.sock'))
    .map((name) => join(folder, name));
}

/** Orders every process that answers under one of the names to give up, and prints the answers. */
const ORDER = `
  for (const name of process.argv.slice(1)) {
    const socket = require('node:net').connect(name.replace('@', '\\0'));
    socket.on('connect', () => { socket.write('give up\\n'); console.log('connected'); });
    socket.on('data', (text) => console.log('heard ' + text));
    socket.on('error', (error) => console.log(error.code));
    setTimeout(() => socket.destroy(), 1000);
  }`;

t.test('another user can neither reach a mount nor order it to lose what is unwritten', async (t) => {
  const where = await heldServer(t);
  const mount = await heldMount(t, where);
  await leaveUnwritten(t, where, mount, 'file');
  const sockets = socketsOf(where);
  t.equal(sockets.length, 1, 'it has a socket');
  const ordering = await stranger(t, ORDER, `@nfs-fuse/0:${minorOf(mount)}`, ...sockets).ended;
  t.notMatch(ordering.stdout.toString(), /connected/);
  t.match(ordering.stdout.toString(), /EACCES/);
  t.equal(mount.outcome, undefined, 'the mount lives');
  where.proxy.release();
  t.match(await nfsFuse(['umount', mount.path]), { status: 0 });
  t.ok(where.served('file').equals(DATA), 'nothing is lost');
});

t.test('a mount does not answer another user who can reach its socket', async (t) => {
  const where = await heldServer(t);
  const mount = await heldMount(t, where);
  const [socket = ''] = socketsOf(where);
  chmodSync(dirname(socket), 0o711);
  chmodSync(socket, 0o777);
  const ordering = await stranger(t, ORDER, socket).ended;
  chmodSync(dirname(socket), 0o700);
  t.match(ordering.stdout.toString(), /connected/);
  t.notMatch(ordering.stdout.toString(), /heard/);
  await mount.mustRun(['ls']);
  t.equal(mount.outcome, undefined, 'the mount lives');
});

/** Answers like a mount that has nothing unwritten and has ended in good order. */
const PRETEND = `
  const answer = (socket) => {
    socket.on('error', () => {});
    socket.on('data', (text) => {
      const asked = String(text);
      if (asked === 'stats\\n')
        socket.write(JSON.stringify({ pid: 1, unwritten: { bytes: 0, files: 0, largest: [] } }) + '\\n');
      if (asked === 'write back\\n') socket.write('[]\\n');
      if (asked === 'watch\\n') socket.write('{"watching":true}\\n{"status":0}\\n');
    });
    setTimeout(() => socket.end('{"status":0}\\n'), 300);
  };
  const names = process.argv.slice(1);
  let tried = 0;
  // Another process may have some of the names already.
  const next = () => ++tried === names.length && console.log('listening');
  for (const name of names)
    require('node:net').createServer(answer).on('error', next).listen(name.replace('@', '\\0'), next);`;

/** The numbers that the kernel will probably give to the next file systems: the lowest free ones. */
async function nextMinors(t: Test): Promise<number[]> {
  const scratch = untilEnd(t, publicFolder());
  await mustRun(['mount', '-t', 'tmpfs', 'none', scratch.path]);
  const device = mountsOf(process.pid).findLast(({ path }) => path === scratch.path)?.device ?? '';
  await mustRun(['umount', scratch.path]);
  const minor = Number(device.split(':')[1]);
  return Array.from({ length: 40 }, (_, index) => Math.max(1, minor - 10) + index);
}

t.test('umount does not believe another user who took the name of the mount first', async (t) => {
  const names = (await nextMinors(t)).map((minor) => `@nfs-fuse/0:${minor}`);
  const pretending = stranger(t, PRETEND, ...names);
  await until('the names are taken', () => pretending.output.includes('listening'));
  const where = await heldServer(t);
  const mount = await heldMount(t, where);
  await leaveUnwritten(t, where, mount, 'file');
  const unmounting = untilEnd(t, start([...product, 'umount', mount.path], { cwd: '/' }));
  await until('it waits for the data', () => {
    if (unmounting.outcome !== undefined) throw new Error(`it has ended: ${unmounting.output}`);
    return unmounting.output.includes('is still mounted: waiting for the server to take');
  });
  where.proxy.release();
  t.equal((await unmounting.ended).status, 0);
  t.ok(where.served('file').equals(DATA), 'the data is there');
});

t.test('umount does not believe a socket of another user in the folder', async (t) => {
  const where = await heldServer(t);
  const mount = await heldMount(t, where);
  const anywhere = join(where.place.folder, 'anywhere');
  mkdirSync(anywhere);
  chmodSync(anywhere, 0o777);
  const pretending = stranger(t, PRETEND, join(anywhere, 'fake'));
  await until('it listens', () => pretending.output.includes('listening'));
  const [socket = ''] = socketsOf(where);
  renameSync(join(anywhere, 'fake'), join(dirname(socket), `0:${minorOf(mount)}.ffffffff.sock`));
  const { stdout } = await nfsFuse(['stats', '--json', mount.path]);
  t.match(JSON.parse(stdout), { pid: mount.pid });
});

t.test("another user's umount and stats of a mount are refused, and it stays", async (t) => {
  const where = await heldServer(t, 'user');
  const mount = await heldMount(t, where);
  for (const [args, message] of [
    [['umount', mount.path], /stays mounted: the process that serves it cannot be asked/],
    [['stats', mount.path], /cannot be asked\.\n.*ask as root, or as the user who has mounted it/],
  ] as const) {
    const asked = said(await run([...asStranger, ...where.place.product, ...args], { cwd: '/' }));
    t.equal(asked.status, 1);
    t.match(asked.stderr, message);
  }
  t.ok(mount.entry, 'mounted');
});

t.test("root unmounts a user's mount, and waits for its data", async (t) => {
  const where = await heldServer(t, 'user');
  const mount = await heldMount(t, where);
  await leaveUnwritten(t, where, mount, 'file');
  const unmounting = nfsFuse(['umount', mount.path]);
  where.proxy.release();
  t.match(await unmounting, { status: 0, stderr: /^$/ });
  t.ok(where.served('file').equals(DATA), 'the data is there');
});

t.test('a mount without a place for its socket warns, and umount does not claim success', async (t) => {
  const where = await heldServer(t);
  const { place, source } = where;
  const path = join(place.folder, 'mnt');
  mkdirSync(path);
  const readOnly = 'for f in /tmp /run /dev/shm; do mount --bind $f $f && mount -o remount,bind,ro $f; done';
  const within = ['env', '-u', 'XDG_RUNTIME_DIR', '-u', 'NODE_OPTIONS', ...withoutFuse];
  const target = `${source.host}:${source.exportPath}`;
  const mountArgs = ['mount', '-f', '-o', source.mountOptions.join(','), target, path];
  const mounting = untilEnd(
    t,
    start([...within, 'sh', '-c', `${readOnly}; exec "$@"`, 'sh', ...product, ...mountArgs]),
  );
  await until('it is mounted', () => {
    if (mounting.outcome !== undefined) throw new Error(mounting.output);
    return mounting.output.includes('is mounted on');
  });
  t.match(mounting.output, /There is no folder for the control socket/);
  const umount = async (...args: string[]) => {
    const enter = ['env', '-u', 'NODE_OPTIONS', 'nsenter', '-t', String(mounting.pid), '-m'];
    return said(await run([...enter, ...product, 'umount', ...args, path], { cwd: '/' }));
  };
  t.match(await umount(), { status: 1, stderr: /stays mounted: the process that serves it cannot be asked/ });
  t.equal(mounting.outcome, undefined, 'it lives');
  t.match(await umount('--lazy'), {
    status: 0,
    stderr: /cannot be asked whether everything is written back/,
  });
  t.match(await mounting.ended, { status: 0 });
});

t.test('a mount skips folders that another user has made under our name', async (t) => {
  // No user and no other test uses this number.
  const uid = 54_000 + (process.pid % 10_000);
  const [node = '', program = ''] = await productFor(uid);
  const parents = ['/tmp', '/dev/shm'];
  const traps = parents.map((parent) => join(parent, `nfs-fuse-${uid}`));
  t.teardown(() => {
    for (const parent of parents)
      for (const name of readdirSync(parent))
        if (name.startsWith(`nfs-fuse-${uid}`)) rmSync(join(parent, name), { recursive: true });
  });
  for (const trap of traps) {
    mkdirSync(trap);
    chmodSync(trap, 0o777);
    chownSync(trap, STRANGER, STRANGER);
  }
  const module = join(dirname(program), '../lib/mount/reach/runtime-folder.js');
  const script = `const { openRuntimeFolder, runtimeFoldersOf } = await import(${JSON.stringify(module)});
    console.log(openRuntimeFolder().path);
    console.log(openRuntimeFolder().path);
    console.log([...runtimeFoldersOf(${uid})].map(({ path }) => path).join());`;
  const argv = [
    'env',
    '-u',
    'NODE_OPTIONS',
    '-u',
    'XDG_RUNTIME_DIR',
    'setpriv',
    `--reuid=${uid}`,
    '--clear-groups',
  ];
  const told = await mustRun([...argv, node, '--input-type=module', '-e', script], { cwd: '/' });
  const [first = '', second, found] = told.trim().split('\n');
  t.match(first, new RegExp(`^/tmp/nfs-fuse-${uid}-\\w{6}$`));
  t.equal(second, first, 'the next mount uses it too');
  t.equal(found, first, 'and commands find it');
});

t.test('the watcher writes into the folder that it got, whatever lies at its path later', async (t) => {
  const where = await heldServer(t);
  const { place } = where;
  const mount = await backgroundMount(t, where, ['--no-keep']);
  const folder = join(place.folder, 'nfs-fuse');
  const victim = join(place.folder, 'victim');
  const journal = `${createHash('sha256').update(mount.path).digest('hex').slice(0, 32)}.log`;
  writeFileSync(victim, 'mine\n');
  renameSync(folder, `${folder}.moved`);
  mkdirSync(folder);
  symlinkSync(victim, join(folder, journal));
  process.kill(mount.pid, 'SIGKILL');
  await until('the watcher has ended', () => watchersOf(mount.path).length === 0);
  t.equal(readFileSync(victim, 'utf8'), 'mine\n');
  t.match(readFileSync(join(`${folder}.moved`, journal), 'utf8'), /died/);
});

t.test('a log file of another user, or a link made by one, is refused', async (t) => {
  const where = await heldServer(t);
  const { place, source } = where;
  const folder = join(place.folder, 'open-to-all');
  mkdirSync(folder);
  chmodSync(folder, 0o777);
  const victim = join(place.folder, 'victim');
  writeFileSync(victim, 'mine\n');
  writeFileSync(join(folder, 'theirs'), '');
  await mustRun([...asStranger, 'ln', '-s', victim, join(folder, 'link')]);
  linkSync(victim, join(folder, 'hard-link'));
  chownSync(join(folder, 'theirs'), STRANGER, STRANGER);
  const target = `${source.host}:${source.exportPath}`;
  for (const [name, message] of [
    ['link', /symbolic link that another user may have made/],
    ['hard-link', /has a second name/],
    ['theirs', /belongs to another user/],
  ] as const) {
    const log = ['--log-file', join(folder, name)];
    const mounted = await nfsFuse([
      'mount',
      ...log,
      '-o',
      source.mountOptions.join(','),
      target,
      place.folder,
    ]);
    t.equal(mounted.status, 1, name);
    t.match(mounted.stderr, message);
  }
  t.equal(readFileSync(victim, 'utf8'), 'mine\n');
});
