/**
 * The messages of a mount whose command has returned: a small file per mount point, in a folder of the user's own. The first
 * message creates the file, an end in good order removes it, and the next command about the mount point reports it.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { type LogLevel, printable } from '../../base/log.js';
import { openRuntimeFolder, ownUid, type RuntimeFolder, runtimeFoldersOf } from './runtime-folder.js';

/** The folder may be in memory, which a mount with endless messages must not fill. */
const MAX_BYTES = 64 * 1024;
/** Older journals are removed. */
const MAX_AGE_MS = 30 * 24 * 3600 * 1000;
const { O_APPEND, O_CREAT, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;

/** The journal of a mount point. The file exists only after the first message. */
export class MountJournal {
  #folder: RuntimeFolder;
  readonly #name: string;
  #full = false;
  #errors = false;

  private constructor(folder: RuntimeFolder, name: string) {
    this.#folder = folder;
    this.#name = name;
  }

  /**
   * The journal for the process that serves `mountpoint` (absolute, without symbolic links). Undefined: there is no folder
   * that belongs to this user alone.
   */
  static for(mountpoint: string): MountJournal | undefined {
    const folder = openRuntimeFolder();
    if (folder === undefined) return undefined;
    removeOld(folder);
    return new MountJournal(folder, fileName(mountpoint));
  }

  /** For messages. */
  get path(): string {
    return join(this.#folder.path, this.#name);
  }

  /** For another process that writes to it: the folder's descriptor, and the name of the file in it. */
  get place(): { readonly folder: number; readonly name: string } {
    return { folder: this.#folder.fd, name: this.#name };
  }

  /** Never throws, because there is no better place to report an error. */
  append(level: LogLevel, message: string): void {
    if (level === 'error') this.#errors = true;
    if (this.#full) return;
    try {
      const fd = this.#open();
      try {
        this.#full = fstatSync(fd).size > MAX_BYTES;
        const text = this.#full ? 'There is more than is kept here: use --log-file.' : printable(message);
        writeSync(fd, `${new Date().toISOString()} ${level} ${text}\n`);
      } finally {
        closeSync(fd);
      }
    } catch {
      // There is no better place to report this.
    }
  }

  /** Call it when the mount has ended. Removes the file after an end in good order without errors. */
  close(status: number, message: string | undefined): void {
    if (status !== 0)
      this.append('error', `The mount has ended with an error: ${message ?? `status ${status}`}`);
    else if (!this.#errors) this.clear();
  }

  /** The messages so far are those of an earlier process of the same mount: an end in good order keeps its errors. */
  goOn(): void {
    try {
      this.#errors = / error /.test(readFileSync(this.#folder.at(this.#name), 'utf8'));
    } catch {
      // There are none.
    }
  }

  clear(): void {
    rmSync(this.#folder.at(this.#name), { force: true });
  }

  #open(): number {
    try {
      return openToAppend(this.#folder, this.#name);
    } catch (error) {
      // The folder is gone: a clean-up of old files or a logout has removed it.
      const folder = openRuntimeFolder();
      if (folder === undefined) throw error;
      this.#folder = folder;
      return openToAppend(folder, this.#name);
    }
  }
}

function openToAppend(folder: RuntimeFolder, name: string): number {
  return openSync(folder.at(name), O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600);
}

/** The journal of the last mount on `mountpoint`: the file and its last line. Undefined: it left no messages. */
export function lastWords(mountpoint: string): { readonly path: string; readonly line: string } | undefined {
  const name = fileName(mountpoint);
  for (const folder of runtimeFoldersOf(ownUid())) {
    try {
      const fd = openSync(folder.at(name), O_RDONLY | O_NOFOLLOW);
      try {
        const line = readFileSync(fd, 'utf8').trimEnd().split('\n').at(-1);
        if (line !== undefined && line !== '')
          return { path: join(folder.path, name), line: printable(line) };
      } finally {
        closeSync(fd);
      }
    } catch {
      // Not here.
    } finally {
      folder.close();
    }
  }
  return undefined;
}

function removeOld(folder: RuntimeFolder): void {
  for (const name of folder.names()) {
    if (!name.endsWith('.log')) continue;
    try {
      if (Date.now() - statSync(folder.at(name)).mtimeMs > MAX_AGE_MS) rmSync(folder.at(name));
    } catch {
      // Another process has removed it already.
    }
  }
}

/** A mount point may be longer than a file name, and may hold any byte. */
function fileName(mountpoint: string): string {
  return `${createHash('sha256').update(mountpoint).digest('hex').slice(0, 32)}.log`;
}
