/**
 * Places to mount in: as root, as an unprivileged user who is root of a user and mount namespace of its own
 * (`unshare -Urm`, as in a rootless container), or as a plain user through fusermount3. A test works on a mount through
 * programs that run in the mount's place.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { publicFolder } from './folders.js';
import { start, until } from './process.js';
import { changeMode, needUser } from './registry.js';
import { productFor } from './stage.js';

export type PlaceName = 'root' | 'userns' | 'user';

/** A command that takes away every FUSE mount of the namespace that it runs in, without asking any of them. */
export const WITHOUT_FUSE = 'umount -a -l -c -t fuse,fuse.nfs-fuse';
/**
 * Runs the command that follows in a mount namespace of its own, without the mounts of other tests. A new namespace has a
 * copy of every mount, and a copy keeps a file system alive; they are taken away while the process is still root.
 */
export const withoutFuse: readonly string[] = [
  ...['unshare', '-m', '--propagation', 'private'],
  ...['sh', '-c', `${WITHOUT_FUSE}; exec "$@"`, 'sh'],
];

/** The unprivileged user. It exists while tests run. */
const USER = 'nfs-fuse-test';

export interface Place {
  readonly name: PlaceName;
  /** The place's user as seen outside of any namespace: the owner of files that its programs may change. */
  readonly owner: { readonly uid: number; readonly gid: number };
  /** Programs may change owners and become other users. */
  readonly privileged: boolean;
  /** A folder of the place's user, for mount points and scratch files. */
  readonly folder: string;
  /** `nfs-fuse`, without arguments. */
  readonly product: readonly string[];
  /** The process in whose mount namespace the place is. */
  readonly namespacePid: number;
  /** The whole command that runs `argv` in this place. */
  command(argv: readonly string[]): string[];
  close(): Promise<void>;
}

/** Makes a place. Its folder and processes are gone after `close`. */
export async function openPlace(name: PlaceName): Promise<Place> {
  switch (name) {
    case 'root':
      return rootPlace();
    case 'user':
      return userPlace();
    case 'userns':
      return usernsPlace();
  }
}

async function rootPlace(): Promise<Place> {
  const scratch = publicFolder();
  return {
    name: 'root',
    owner: { uid: 0, gid: 0 },
    privileged: true,
    folder: scratch.path,
    product: await productFor(0),
    namespacePid: process.pid,
    command: (argv) => ['env', `XDG_RUNTIME_DIR=${scratch.path}`, ...argv],
    close: () => scratch.remove(),
  };
}

/** The test user's ids; makes the user if there is none. */
function testUser(): { uid: number; gid: number } {
  needUser(USER);
  const [, , uid, gid] = execFileSync('getent', ['passwd', USER], { encoding: 'utf8' }).split(':');
  return { uid: Number(uid), gid: Number(gid) };
}

interface UserSeat {
  readonly owner: { uid: number; gid: number };
  readonly folder: string;
  readonly product: readonly string[];
  readonly as: readonly string[];
  close(): Promise<void>;
}

/** An ordinary user with a folder, who may open /dev/fuse. */
async function seat(): Promise<UserSeat> {
  const owner = testUser();
  const scratch = publicFolder();
  const folder = join(scratch.path, 'home');
  mkdirSync(folder, { mode: 0o755 });
  chownSync(folder, owner.uid, owner.gid);
  const restore = changeMode('/dev/fuse', 0o666);
  const product = await productFor(owner.uid);
  // NODE_OPTIONS: tap has every Node process write into a folder that is not this user's.
  const unset = ['TMPDIR', 'NODE_OPTIONS'].flatMap((name) => ['-u', name]);
  const environment = ['env', ...unset, `HOME=${folder}`, `XDG_RUNTIME_DIR=${folder}`, `USER=${USER}`];
  const user = ['setpriv', `--reuid=${owner.uid}`, `--regid=${owner.gid}`, '--clear-groups'];
  return {
    owner,
    folder,
    product,
    as: [...environment, ...user],
    async close() {
      restore();
      await scratch.remove();
    },
  };
}

async function userPlace(): Promise<Place> {
  const { as, ...user } = await seat();
  return {
    ...user,
    name: 'user',
    privileged: false,
    namespacePid: process.pid,
    command: (argv) => [...as, ...argv],
  };
}

async function usernsPlace(): Promise<Place> {
  const { as, ...user } = await seat();
  // The namespaces live as long as this program.
  const holder = start([
    ...withoutFuse,
    ...as,
    'unshare',
    '-Urm',
    '--propagation',
    'private',
    'sleep',
    'infinity',
  ]);
  const namespaceOf = (pid: number | string) =>
    execFileSync('readlink', [`/proc/${pid}/ns/mnt`], { encoding: 'utf8' });
  const outside = namespaceOf(process.pid);
  const map = () => spawnSync('cat', [`/proc/${holder.pid}/uid_map`], { encoding: 'utf8' }).stdout.trim();
  await until('the user namespace is there', () => {
    if (holder.outcome) throw new Error(`unshare failed: ${holder.output}`);
    return namespaceOf(holder.pid) !== outside && /^0 +\d+ +1$/.test(map().replace(/ +/g, ' '));
  });
  const enter = ['nsenter', '-t', String(holder.pid), '-U', '-m', '--preserve-credentials'];
  return {
    ...user,
    name: 'userns',
    privileged: false,
    namespacePid: holder.pid,
    command: (argv) => [...as, ...enter, ...argv],
    async close() {
      await holder.stop();
      await user.close();
    },
  };
}
