/**
 * The native half of koffi, which is part of the single file. The system's loader wants a file of its own for it: the file gets no name
 * where the file system can do without, is this user's alone, and is gone as soon as it is loaded.
 */
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { includedBytes } from '../../lib/base/own-program.js';

const KOFFI = 'koffi.node';
/** Linux's O_TMPFILE, which Node does not name. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

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
    return loadUnnamed(folder, bytes);
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
  const all = [XDG_RUNTIME_DIR, '/dev/shm', tmpdir(), '/tmp', '/var/tmp', '/run'];
  return [...new Set(all.filter((folder) => folder?.startsWith('/')))] as string[];
}

function loadUnnamed(folder: string, bytes: Uint8Array): unknown {
  const file = openSync(folder, constants.O_RDWR | O_TMPFILE, 0o600);
  try {
    writeFileSync(file, bytes);
    return open(`/proc/self/fd/${file}`);
  } finally {
    closeSync(file);
  }
}

/** For file systems that have no files without a name. The folder is this user's alone from the start. */
function loadNamed(folder: string, bytes: Uint8Array): unknown {
  const own = mkdtempSync(join(folder, 'nfs-fuse-'));
  try {
    const path = join(own, KOFFI);
    writeFileSync(path, bytes, { flag: 'wx', mode: 0o600 });
    return open(path);
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}

function open(path: string): unknown {
  const module = { exports: {} };
  process.dlopen(module, path);
  return module.exports;
}
