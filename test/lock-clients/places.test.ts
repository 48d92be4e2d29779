/**
 * Locks of mounts that need no root: of a plain user, through fusermount3, and in a user namespace. They exclude other
 * clients, end when nfs-fuse is killed, and what it notes of them for that is out of reach of other users.
 */
import { chmodSync, chownSync, existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Ganesha } from '../support/ganesha.js';
import { LockWorkers } from '../support/locks/workers.js';
import { Mount, newMountPoint } from '../support/mount.js';
import { openPlace, type PlaceName } from '../support/places.js';
import { run, start, until } from '../support/process.js';
import { python } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';

const GOT = { ok: null };
const REFUSED = { errno: 'EAGAIN' };
/** The user "nobody", who owns nothing here. */
const STRANGER = 65_534;

/** A mount in a place, and a worker there that has the file open. */
async function client(t: Test, source: Ganesha, name: PlaceName) {
  const place = untilEnd(t, await openPlace(name));
  const mount = untilEnd(t, await Mount.start({ source, place, options: ['lock'], args: ['--no-keep'] }));
  await mount.served();
  const workers = untilEnd(
    t,
    LockWorkers.start(mount.path, (argv) => place.command(argv)),
  );
  await workers.spawn('w');
  await workers.call('w', 'open', 'f', 'file', 'rw');
  const fcntl = (command: string, kind: string, ...range: readonly string[]) =>
    workers.begin('w', 'fcntl', command, 'f', kind, 0, ...range);
  return { place, mount, fcntl };
}

/** The note of a mount's locks, once there is one. */
async function noteIn(folder: string): Promise<string> {
  let path: string | undefined;
  await until('the lock is noted', () => {
    const name = readdirSync(folder).find((one) => one.endsWith('.locks'));
    path = name && join(folder, name);
    return path !== undefined;
  });
  return path ?? '';
}

/** The ways in which a stranger tries to see, change, add and hold back notes. All have to fail. */
function attempts(note: string): readonly (readonly string[])[] {
  const folder = join(note, '..');
  return [
    ['cat', note],
    ['ls', folder],
    ['sh', '-c', 'echo >> "$1"', 'sh', note],
    ['sh', '-c', 'echo > "$1"', 'sh', join(folder, 'other.locks')],
    ['rm', note],
    ['mv', folder, `${folder}.moved`],
    ['ln', note, '/tmp/stolen'],
    ['flock', '--nonblock', note, 'true'],
    ['flock', '--nonblock', folder, 'true'],
    ['chmod', '777', folder],
  ];
}

for (const name of ['user', 'userns'] as const) {
  t.test(
    `${name}: locks exclude other clients, and end within 5 s of SIGKILL`,
    { timeout: 120_000 },
    async (t) => {
      const server = untilEnd(t, await Ganesha.start({ locks: true }));
      writeFileSync(join(server.directory, 'file'), 'content');
      chmodSync(join(server.directory, 'file'), 0o666);
      const rival = await client(t, server, 'root');
      const one = await client(t, server, name);
      t.same(await one.fcntl('set', 'x', '0', '10').answer, GOT);
      t.same(await rival.fcntl('set', 's', '5', '1').answer, REFUSED);
      t.same(await rival.fcntl('set', 'x', '100', '10').answer, GOT);
      t.same(await one.fcntl('set', 's', '100', '1').answer, REFUSED);
      const folder = join(one.place.folder, 'nfs-fuse');
      const note = await noteIn(folder);
      t.same(
        [folder, note].map((path) => statSync(path).mode & 0o777),
        [0o700, 0o600],
      );
      t.same(
        [folder, note].map((path) => statSync(path).uid),
        [one.place.owner.uid, one.place.owner.uid],
      );
      for (const argv of attempts(note)) {
        const strange = ['setpriv', `--reuid=${STRANGER}`, `--regid=${STRANGER}`, '--clear-groups', ...argv];
        t.not((await run(strange, { cwd: '/' })).status, 0, argv.join(' '));
      }
      const next = rival.fcntl('wait', 'x', '0', '10');
      t.equal(next.settled(), undefined);
      await one.mount.kill();
      const killed = performance.now();
      t.same(await next.answer, GOT);
      const milliseconds = performance.now() - killed;
      t.comment(`free after ${Math.round(milliseconds)} ms`);
      t.ok(milliseconds < 5_000);
      await until('the note is gone', () => !existsSync(note));
    },
  );
}

/** Locks a file for ever, and says so. */
const HOLDER = `
import fcntl, sys, time
file = open(sys.argv[1], 'r+')
fcntl.lockf(file, fcntl.LOCK_EX)
print('locked', flush=True)
time.sleep(600)
`;

t.test('exec, by a plain user: locks end within 5 s of SIGKILL', { timeout: 120_000 }, async (t) => {
  const server = untilEnd(t, await Ganesha.start({ locks: true }));
  writeFileSync(join(server.directory, 'file'), 'content');
  chmodSync(join(server.directory, 'file'), 0o666);
  const place = untilEnd(t, await openPlace('user'));
  // The kernel lets nobody write to a file whose owner has no number in the namespace.
  chownSync(join(server.directory, 'file'), place.owner.uid, place.owner.gid);
  const rival = await client(t, server, 'root');
  const mountPoint = await newMountPoint(place);
  const options = server.mountOptions.join(',');
  const exec = [
    ...place.product,
    'exec',
    '-o',
    options,
    `${server.host}:${server.exportPath}`,
    mountPoint,
    '--',
  ];
  const command = [python, '-c', HOLDER, join(mountPoint, 'file')];
  const executing = untilEnd(t, start(place.command([...exec, ...command]), { cwd: '/' }));
  await until('the lock is there', () => {
    if (executing.outcome) throw new Error(executing.output);
    return executing.output.includes('locked');
  });
  t.same(await rival.fcntl('set', 's', '0', '0').answer, REFUSED);
  const next = rival.fcntl('wait', 'x', '0', '0');
  executing.signal('SIGKILL');
  await executing.ended;
  const killed = performance.now();
  t.same(await next.answer, GOT);
  const milliseconds = performance.now() - killed;
  t.comment(`free after ${Math.round(milliseconds)} ms`);
  t.ok(milliseconds < 5_000);
});
