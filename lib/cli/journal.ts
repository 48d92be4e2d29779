/**
 * What a mount has to say once nobody listens any more: a small file per mount point, in a folder of the user's own.
 * It is made with the first message, taken away by an end in good order, and told by the next command that comes by.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { type LogLevel, printable } from './log.js';

/** A mount that complains without end must not fill a memory file system. */
const MAX_BYTES = 64 * 1024;
/** Journals that nobody has asked for in so long are removed. */
const MAX_AGE_MS = 30 * 24 * 3600 * 1000;
const { O_APPEND, O_CREAT, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;

/** The journal of a mount point, whether there is a file yet or not. */
export class MountJournal {
  readonly path: string;
  #full = false;
  #errors = false;

  private constructor(path: string) {
    this.path = path;
  }

  /**
   * For the process that serves `mountpoint` (absolute, without symbolic links). Undefined: there is no folder that
   * belongs to this user alone.
   */
  static for(mountpoint: string): MountJournal | undefined {
    const folder = folders().find(isUsable);
    if (folder === undefined) return undefined;
    removeOld(folder);
    return new MountJournal(join(folder, fileName(mountpoint)));
  }

  /** Never throws: there is no better place to complain. */
  append(level: LogLevel, message: string): void {
    if (level === 'error') this.#errors = true;
    if (this.#full) return;
    try {
      const fd = openSync(this.path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600);
      try {
        this.#full = fstatSync(fd).size > MAX_BYTES;
        const text = this.#full ? 'There is more than is kept here: use --log-file.' : printable(message);
        writeSync(fd, `${new Date().toISOString()} ${level} ${text}\n`);
      } finally {
        closeSync(fd);
      }
    } catch {
      // As said.
    }
  }

  /** The mount has ended: in good order there is nothing to keep. */
  close(status: number, message: string | undefined): void {
    if (status !== 0)
      this.append('error', `The mount has ended with an error: ${message ?? `status ${status}`}`);
    else if (!this.#errors) this.clear();
  }

  clear(): void {
    rmSync(this.path, { force: true });
  }
}

/** What the last mount on `mountpoint` left: the file and its last line. Undefined: nothing to complain of. */
export function lastWords(mountpoint: string): { readonly path: string; readonly line: string } | undefined {
  for (const folder of folders()) {
    const path = join(folder, fileName(mountpoint));
    try {
      if (!isOurs(folder)) continue;
      const fd = openSync(path, O_RDONLY | O_NOFOLLOW);
      try {
        const line = readFileSync(fd, 'utf8').trimEnd().split('\n').at(-1);
        if (line !== undefined && line !== '') return { path, line: printable(line) };
      } finally {
        closeSync(fd);
      }
    } catch {
      // Not here.
    }
  }
  return undefined;
}

/** The best one first. */
function folders(): string[] {
  const uid = process.geteuid?.() ?? 0;
  const { XDG_RUNTIME_DIR: runtime } = process.env;
  return [
    ...(runtime !== undefined && isAbsolute(runtime) ? [join(runtime, 'nfs-fuse')] : []),
    ...(uid === 0 ? ['/run/nfs-fuse'] : []),
    `/tmp/nfs-fuse-${uid}`,
  ];
}

function isUsable(folder: string): boolean {
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch {
    // It is there, or cannot be.
  }
  return isOurs(folder);
}

/** In a folder that others may write to, they could have laid out links. */
function isOurs(folder: string): boolean {
  try {
    const found = lstatSync(folder);
    return found.isDirectory() && found.uid === process.geteuid?.() && (found.mode & 0o077) === 0;
  } catch {
    return false;
  }
}

function removeOld(folder: string): void {
  try {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      if (name.endsWith('.log') && Date.now() - statSync(path).mtimeMs > MAX_AGE_MS) rmSync(path);
    }
  } catch {
    // Another one does the same.
  }
}

/** A mount point may be longer than a file name, and may hold any byte. */
function fileName(mountpoint: string): string {
  return `${createHash('sha256').update(mountpoint).digest('hex').slice(0, 32)}.log`;
}
