/**
 * The native half of koffi, which is part of the single file. The system's loader wants a file of its own for it: the file gets no name
 * where the file system can do without, is this user's alone, and is gone as soon as it is loaded. Owns that no other user can
 * have this process load something else.
 */
import {
  closeSync,
  constants,
  fstatSync,
  mkdtempSync,
  openSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { includedBytes } from '../../lib/base/own-program.js';

const KOFFI = 'koffi.node';
/** Linux's O_TMPFILE, which Node does not name. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;
const NEW = constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const STICKY = 0o1000;
/** The kernel shows this uid for users without a counterpart in this user namespace, such as root of the machine. */
const OVERFLOW_UID = 65_534;
/** Every user has these, and no user can change where they lead. */
const SYSTEM_FOLDERS = ['/dev/shm', '/tmp', '/var/tmp', '/run'];

/**
 * Loads it by way of the first folder that will do.
 * @throws Error that says of each folder why it did not
 */
export function loadNative(): unknown {
  const bytes = includedBytes(KOFFI);
  const failures: string[] = [];
  for (const folder of folders()) {
    try {
      return loadBy(folder, bytes);
    } catch (error) {
      failures.push(`${folder}: ${reason(error)}`);
    }
  }
  throw new Error(`no folder lets the library inside of this program be loaded (${failures.join('; ')})`);
}

function loadBy(folder: string, bytes: Uint8Array): unknown {
  try {
    return loadNew(folder, O_TMPFILE, bytes);
  } catch {
    return loadNamed(folder, bytes);
  }
}

/** The loader's own messages begin with the name of a file that is gone by now. */
function reason(error: unknown): string {
  const { code, message } =
    error instanceof Error ? (error as NodeJS.ErrnoException) : { code: undefined, message: String(error) };
  return code === undefined || code === 'ERR_DLOPEN_FAILED' ? (message.split(': ').at(-1) ?? '') : code;
}

function folders(): string[] {
  const { XDG_RUNTIME_DIR } = process.env;
  const [memory, ...others] = SYSTEM_FOLDERS;
  const all = [XDG_RUNTIME_DIR, memory, tmpdir(), ...others];
  return [...new Set(all.filter((folder) => folder?.startsWith('/')))] as string[];
}

/** For file systems that have no files without a name. The folder is this user's alone from the start. */
function loadNamed(folder: string, bytes: Uint8Array): unknown {
  // Its path may lead elsewhere a moment later.
  const parent = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    mustKeepNames(parent, folder);
    const own = mkdtempSync(`/proc/self/fd/${parent}/nfs-fuse-`);
    const path = join(own, KOFFI);
    try {
      return loadNew(path, NEW, bytes);
    } finally {
      removed(() => unlinkSync(path));
      removed(() => rmdirSync(own));
    }
  } finally {
    closeSync(parent);
  }
}

/** By the descriptor, which means this file whatever becomes of its name. */
function loadNew(path: string, flags: number, bytes: Uint8Array): unknown {
  const file = openSync(path, constants.O_RDWR | flags, 0o600);
  try {
    writeFileSync(file, bytes);
    return open(`/proc/self/fd/${file}`);
  } finally {
    closeSync(file);
  }
}

/**
 * The owner of a folder, and whoever may write to one that is not sticky, can put another folder in the place of ours.
 * @throws Error if that may be another user
 */
function mustKeepNames(parent: number, folder: string): void {
  const { uid, mode } = fstatSync(parent);
  const isOfMachine = uid === OVERFLOW_UID && SYSTEM_FOLDERS.includes(folder);
  const isTrusted = uid === 0 || uid === process.geteuid?.() || isOfMachine;
  if (!isTrusted || ((mode & 0o022) !== 0 && (mode & STICKY) === 0))
    throw new Error('another user may change it');
}

/** A thing that cannot be removed is left: it does no harm. */
function removed(remove: () => void): void {
  try {
    remove();
  } catch {
    // It was not made, or somebody has removed it.
  }
}

function open(path: string): unknown {
  const module = { exports: {} };
  process.dlopen(module, path);
  return module.exports;
}
