/**
 * The user's own folder for the journals and control sockets of mounts. It may lie in a folder that other users can write to
 * (/tmp), so its files are not reached by its path: the folder is opened once, the opened folder is checked, and its files
 * are named below that descriptor.
 */
import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
} from 'node:fs';
import { isAbsolute, join } from 'node:path';

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants;
/** Linux's O_PATH, which Node does not name: opens a place without asking the file system there. */
const O_PATH = 0o10000000;
/** File systems that ask another process or machine, which may never answer. */
const ASKING = /^(fuse|nfs|cifs|smb3|9p|ceph|afs|autofs)/;
/** Folders that exist everywhere and that every user may write to. */
const PUBLIC_FOLDERS = ['/tmp', '/dev/shm'];
/** At most so many folders with a random name are looked at. More than one exists only by accident. */
const MAX_MADE_UP = 16;

/** An open folder that belongs to one user, and that no other user may enter. */
export class RuntimeFolder {
  private constructor(
    /** For messages. */
    readonly path: string,
    readonly fd: number,
  ) {}

  /**
   * Opens a folder. Undefined: it does not exist, is a symbolic link, does not belong to `uid`, or other users may
   * enter it.
   */
  static open(path: string, uid: number): RuntimeFolder | undefined {
    const fd = openPlace(path, O_NOFOLLOW, (place) => isOfNoStranger(place, uid));
    if (fd === undefined) return undefined;
    const found = fstatSync(fd);
    if (found.uid === uid && (found.mode & 0o077) === 0) return new RuntimeFolder(path, fd);
    closeSync(fd);
    return undefined;
  }

  /**
   * The folder that process `pid` has open as descriptor `number`, whoever owns it. Undefined: we cannot open it, or its file
   * system could keep us waiting.
   */
  static heldBy(pid: number, number: number): RuntimeFolder | undefined {
    // Before it is opened and afterwards: the process may open something else under that number in between.
    if (!answersByItself(fileSystemOf(pid, number, pid))) return undefined;
    const path = `/proc/${pid}/fd/${number}`;
    const fd = openPlace(path, 0, (place) => answersByItself(fileSystemOf('self', place, pid)));
    return fd === undefined ? undefined : new RuntimeFolder(path, fd);
  }

  /**
   * A path of the file `name`, valid in this process while the folder is open. It is short enough for a unix socket
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

/** Opens a folder whose place `isFit` agrees to. Undefined: there is none, or we may not open it. */
function openPlace(path: string, flags: number, isFit: (place: number) => boolean): number | undefined {
  try {
    const place = openSync(path, O_PATH | O_DIRECTORY | flags);
    try {
      return isFit(place) ? openSync(`/proc/self/fd/${place}`, O_RDONLY | O_DIRECTORY) : undefined;
    } finally {
      closeSync(place);
    }
  } catch {
    return undefined;
  }
}

/** The type and the options of a file system, as a table of mounts has them. */
interface FileSystem {
  readonly type: string;
  readonly options: string;
}

/**
 * The file system on which a process has a descriptor open, as the table of process `seenBy` or our own has it. Undefined:
 * neither does. Reads the tables by itself: the program starts with this file, and loads nothing else for it.
 */
function fileSystemOf(pid: number | 'self', fd: number, seenBy: number | 'self'): FileSystem | undefined {
  const [, id] = /^mnt_id:\s*(\d+)$/m.exec(textOf(`/proc/${pid}/fdinfo/${fd}`)) ?? [];
  for (const table of id === undefined ? [] : new Set([seenBy, 'self'])) {
    const lines = textOf(`/proc/${table}/mountinfo`).split('\n');
    const line = lines.find((one) => one.startsWith(`${id} `));
    const [type, , options] = line?.split(' - ')[1]?.split(' ') ?? [];
    if (type !== undefined && options !== undefined) return { type, options };
  }
  return undefined;
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** Whether a file system that somebody has mounted somewhere can be asked without the risk to wait for ever. */
function answersByItself(found: FileSystem | undefined): boolean {
  return found !== undefined && !ASKING.test(found.type);
}

/** Whether a place of user `uid` is on no FUSE file system of that user's, who could keep another one waiting. */
function isOfNoStranger(place: number, uid: number): boolean {
  if (uid === ownUid()) return true;
  const found = fileSystemOf('self', place, 'self');
  if (found === undefined || !found.type.startsWith('fuse')) return true;
  return found.options.split(',').includes('user_id=0');
}

/** Opens this user's folder to write to, and makes it if there is none. Undefined: there is no place for one. */
export function openRuntimeFolder(): RuntimeFolder | undefined {
  const uid = ownUid();
  for (const path of fixedPlaces(uid)) {
    try {
      mkdirSync(path, { mode: 0o700 });
    } catch {
      // It exists already, or cannot be made.
    }
    const folder = openToWrite(path, uid);
    if (folder !== undefined) return folder;
  }
  for (const path of madeUpPlaces(uid)) {
    const folder = openToWrite(path, uid);
    if (folder !== undefined) return folder;
  }
  // Another user has taken the fixed names: make a random one.
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
    // It may lie on a file system that is mounted read-only.
    if (folder !== undefined) accessSync(folder.at(''), constants.W_OK);
    return folder;
  } catch {
    folder?.close();
    return undefined;
  }
}

/** The folders in which a user's mounts may have left files, the likeliest first. The caller closes each folder. */
export function* runtimeFoldersOf(uid: number): Generator<RuntimeFolder> {
  for (const places of [fixedPlaces, madeUpPlaces]) {
    for (const path of places(uid)) {
      const folder = RuntimeFolder.open(path, uid);
      if (folder !== undefined) yield folder;
    }
  }
}

/** Whether the name of a folder is that of a runtime folder. */
export function looksLikeRuntimeFolder(path: string): boolean {
  return /\/nfs-fuse(-\d+(-\w{6})?)?$/.test(path);
}

/** The effective uid, which owns the files that this process makes. */
export function ownUid(): number {
  return process.geteuid?.() ?? 0;
}

/** Places with fixed names, the best one first. */
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

/** Existing folders with random names, which no other user could guess. */
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
  if (!isAbsolute(path)) return false;
  try {
    const place = openSync(path, O_PATH | O_NOFOLLOW);
    try {
      return isOfNoStranger(place, uid) && fstatSync(place).uid === uid;
    } finally {
      closeSync(place);
    }
  } catch {
    return false;
  }
}
