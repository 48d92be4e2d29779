/**
 * The folder of a user's own in which mounts keep their journals and control sockets. Other users may write where it
 * lies (/tmp), so nothing in it is reached by its path: the folder is opened once, what was opened is checked, and from
 * then on its files are named below the descriptor.
 */
import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
} from 'node:fs';
import { isAbsolute, join } from 'node:path';

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants;
/** Folders that exist everywhere and that everybody may write to. */
const PUBLIC_FOLDERS = ['/tmp', '/dev/shm'];
/** Of folders whose name had to be made up; more than one comes of an accident only. */
const MAX_MADE_UP = 16;

/** An open folder that belongs to one user, and that no other user may enter. */
export class RuntimeFolder {
  private constructor(
    /** For messages. */
    readonly path: string,
    readonly fd: number,
  ) {}

  /**
   * Opens a folder. Undefined: there is none, or it is a symbolic link, or another user's than `uid`'s, or others may
   * enter it.
   */
  static open(path: string, uid: number): RuntimeFolder | undefined {
    let fd: number;
    try {
      fd = openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    } catch {
      return undefined;
    }
    const found = fstatSync(fd);
    if (found.uid === uid && (found.mode & 0o077) === 0) return new RuntimeFolder(path, fd);
    closeSync(fd);
    return undefined;
  }

  /** The folder that process `pid` holds open as descriptor `number`, whoever owns it. Undefined: none, or not for us. */
  static heldBy(pid: number, number: number): RuntimeFolder | undefined {
    const path = `/proc/${pid}/fd/${number}`;
    try {
      return new RuntimeFolder(path, openSync(path, O_RDONLY | O_DIRECTORY));
    } catch {
      return undefined;
    }
  }

  /**
   * A path of the file `name`, for this process and as long as the folder is open. Short enough for a unix socket
   * (unix(7): 107 bytes), however long the folder's own path is.
   */
  at(name: string): string {
    return `/proc/self/fd/${this.fd}/${name}`;
  }

  /** The names of its files. */
  names(): string[] {
    try {
      return readdirSync(this.at(''));
    } catch {
      return [];
    }
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** This user's folder for writing, made if there is none. Undefined: there is no place for one. */
export function openRuntimeFolder(): RuntimeFolder | undefined {
  const uid = ownUid();
  for (const path of fixedPlaces(uid)) {
    try {
      mkdirSync(path, { mode: 0o700 });
    } catch {
      // It is there, or cannot be made.
    }
    const folder = openToWrite(path, uid);
    if (folder !== undefined) return folder;
  }
  for (const path of madeUpPlaces(uid)) {
    const folder = openToWrite(path, uid);
    if (folder !== undefined) return folder;
  }
  // Another user has taken the names that can be guessed.
  for (const parent of PUBLIC_FOLDERS) {
    try {
      return RuntimeFolder.open(mkdtempSync(join(parent, `${publicName(uid)}-`)), uid);
    } catch {
      // Not writable, or full.
    }
  }
  return undefined;
}

function openToWrite(path: string, uid: number): RuntimeFolder | undefined {
  const folder = RuntimeFolder.open(path, uid);
  try {
    // Not on a file system that is mounted read-only.
    if (folder !== undefined) accessSync(folder.at(''), constants.W_OK);
    return folder;
  } catch {
    folder?.close();
    return undefined;
  }
}

/** The folders in which a user's mounts may have left something, the likeliest first. The caller closes each. */
export function* runtimeFoldersOf(uid: number): Generator<RuntimeFolder> {
  for (const places of [fixedPlaces, madeUpPlaces]) {
    for (const path of places(uid)) {
      const folder = RuntimeFolder.open(path, uid);
      if (folder !== undefined) yield folder;
    }
  }
}

/** Whether a folder may be one of these, by its name alone. */
export function looksLikeRuntimeFolder(path: string): boolean {
  return /\/nfs-fuse(-\d+(-\w{6})?)?$/.test(path);
}

/** The effective uid, which owns what this process makes. */
export function ownUid(): number {
  return process.geteuid?.() ?? 0;
}

/** The best one first. */
function fixedPlaces(uid: number): string[] {
  const isOwn = uid === ownUid();
  const runtime = isOwn ? process.env.XDG_RUNTIME_DIR : undefined;
  return [
    ...(runtime !== undefined && isOwnedBy(runtime, uid) ? [join(runtime, 'nfs-fuse')] : []),
    ...(uid === 0 ? ['/run/nfs-fuse'] : []),
    // The usual value of XDG_RUNTIME_DIR, for a caller whose environment lacks it.
    ...(uid !== 0 && isOwnedBy(`/run/user/${uid}`, uid) ? [`/run/user/${uid}/nfs-fuse`] : []),
    ...PUBLIC_FOLDERS.map((parent) => join(parent, publicName(uid))),
  ];
}

/** Folders whose names another user could not guess, as far as there are any. */
function madeUpPlaces(uid: number): string[] {
  const beginning = `${publicName(uid)}-`;
  return PUBLIC_FOLDERS.flatMap((parent) => {
    try {
      return readdirSync(parent)
        .filter((name) => name.startsWith(beginning))
        .map((name) => join(parent, name))
        .filter((path) => isOwnedBy(path, uid))
        .slice(0, MAX_MADE_UP);
    } catch {
      return [];
    }
  });
}

function publicName(uid: number): string {
  return `nfs-fuse-${uid}`;
}

function isOwnedBy(path: string, uid: number): boolean {
  try {
    return isAbsolute(path) && lstatSync(path).uid === uid;
  } catch {
    return false;
  }
}
