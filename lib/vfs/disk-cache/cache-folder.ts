/**
 * The folder of the cache on the local disk. Owns who may have it: it belongs to this user, nobody else may enter it, and it
 * lies on a file system of this machine. It is opened and checked once; all that is in it is reached by the opened folder,
 * whatever happens to its path.
 */
import { constants } from 'node:fs';
import { access, type FileHandle, lstat, mkdir, open, realpath, statfs, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { errorCode } from '../../base/log.js';
import { shownName } from '../../base/shown-name.js';
import { UserError } from '../../base/user-error.js';

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, W_OK, X_OK } = constants;
/** Entries are in a folder of their own, named after their format: another format leaves them alone. */
const ENTRIES = 'v1';
/** An object's entries are in a folder that is called by the first letters of its name: this number of them. */
const SHARD = 3;
/** Tells programs that make backups that there is nothing to keep (https://bford.info/cachedir/). */
const TAG = 'CACHEDIR.TAG';
const TAG_TEXT = 'Signature: 8a477f597d28d172789f06886806bc55\n# A cache of nfs-fuse (mount option fsc).\n';

/** f_type of statfs(2). Their data would come from a network again, or through the very mount that asks for it. */
const NOT_LOCAL: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0x6573_5546, 'FUSE'],
  [0x517b, 'SMB'],
  [0xff53_4d42, 'SMB'],
  [0xfe53_4d42, 'SMB'],
  [0x00c3_6400, 'Ceph'],
  [0x5346_414f, 'AFS'],
  [0x6b41_4653, 'AFS'],
  [0x0102_1997, '9P'],
]);

/** Without fscsize: so much, or a tenth of the file system if that is less, since others want to write there as well. */
const STANDARD_LIMIT = 10 * 1024 ** 3;
const STANDARD_PART = 0.1;

/** The folder of fsc without a value. */
export function standardCacheFolder(env: NodeJS.ProcessEnv = process.env, uid = ownUid()): string {
  const { XDG_CACHE_HOME: cache } = env;
  if (cache?.startsWith('/')) return join(cache, 'nfs-fuse');
  return uid === 0 ? '/var/cache/nfs-fuse' : join(homedir(), '.cache', 'nfs-fuse');
}

export class CacheFolder {
  readonly #handle: FileHandle;
  #isClosed = false;
  /** For messages. */
  readonly path: string;
  /** Bytes of disk that a cache may take here if nothing else is said. */
  readonly standardLimit: number;

  private constructor(handle: FileHandle, path: string, standardLimit: number) {
    this.#handle = handle;
    this.path = path;
    this.standardLimit = standardLimit;
  }

  /**
   * Opens the folder for a mount on `mountpoint` (absolute, without symbolic links), and makes it if there is none.
   * `asked`: an absolute path; undefined: the user's own cache folder.
   * @throws UserError for a folder that is not fit for it
   */
  static async open(asked: string | undefined, mountpoint: string): Promise<CacheFolder> {
    const path = asked ?? standardCacheFolder();
    const shown = shownName(path);
    try {
      // With the parents that belong to a user's own folder; a mistyped name must not make a tree of folders.
      await mkdir(path, { mode: 0o700, recursive: asked === undefined });
    } catch (error) {
      if (errorCode(error) !== 'EEXIST')
        throw unfit(shown, `cannot be made (${errorCode(error)})`, 'Name a folder that you may write to.');
    }
    await refuseKind(path, shown);
    const real = await realpath(path);
    if (real === mountpoint || real.startsWith(`${mountpoint}/`))
      throw unfit(shown, 'lies below the mount point itself', 'Name a folder elsewhere with fsc=DIR.');
    let handle: FileHandle;
    try {
      handle = await open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    } catch (error) {
      throw unfit(shown, `cannot be opened (${errorCode(error)})`, 'Name a folder of your own with fsc=DIR.');
    }
    try {
      const { uid, mode } = await handle.stat();
      if (uid !== ownUid())
        throw unfit(
          shown,
          `belongs to another user (uid ${uid})`,
          'Name a folder of your own with fsc=DIR: data in it is taken for the server’s.',
        );
      if ((mode & 0o077) !== 0)
        throw unfit(shown, 'may be entered by other users', `Make it yours alone: chmod 700 ${shown}`);
      const { type, bsize, blocks } = await statfs(`/proc/self/fd/${handle.fd}`);
      const kind = NOT_LOCAL.get(type);
      if (kind !== undefined)
        throw unfit(shown, `lies on ${kind}`, 'Name a folder on a file system of this machine with fsc=DIR.');
      const part = Math.floor(bsize * blocks * STANDARD_PART);
      const folder = new CacheFolder(handle, path, Math.min(STANDARD_LIMIT, part));
      await folder.#prepare(shown);
      return folder;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async #prepare(shown: string): Promise<void> {
    try {
      await access(this.#at('.'), W_OK | X_OK);
      await mkdir(this.#at(ENTRIES), { mode: 0o700 });
      await writeFile(this.#at(TAG), TAG_TEXT, { mode: 0o600, flag: 'wx' });
    } catch (error) {
      // A disk that is full now may have room later. Until then there is what was stored.
      if (/EEXIST|ENOSPC|EDQUOT/.test(errorCode(error))) return;
      throw unfit(
        shown,
        `cannot be written to (${errorCode(error)})`,
        'Name a folder that you may write to.',
      );
    }
  }

  /** A path that leads through the opened folder. */
  #at(name: string): string {
    // Its number may be another file's by now.
    if (this.#isClosed) throw new Error('the folder is closed');
    return `/proc/self/fd/${this.#handle.fd}/${name}`;
  }

  /** The folder of all folders of entries. */
  get entries(): string {
    return this.#at(ENTRIES);
  }

  /** The folder of an object's entries, which need not exist. */
  shard(object: string): string {
    return `${this.entries}/${object.slice(0, SHARD)}`;
  }

  /** The entry with this name, which begins with its object's. */
  entry(name: string): string {
    return `${this.shard(name)}/${name}`;
  }

  /** May be called again. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#handle.close();
  }
}

async function refuseKind(path: string, shown: string): Promise<void> {
  const found = await lstat(path);
  if (found.isSymbolicLink())
    throw unfit(shown, 'is a symbolic link', 'Name the folder itself: a link may be turned elsewhere.');
  if (!found.isDirectory()) throw unfit(shown, 'is no folder', 'Name a folder with fsc=DIR.');
}

function unfit(shown: string, why: string, remedy: string): UserError {
  return new UserError(`The folder for the cache on the local disk (fsc), ${shown}, ${why}.`, { remedy });
}

function ownUid(): number {
  return process.geteuid?.() ?? 0;
}
