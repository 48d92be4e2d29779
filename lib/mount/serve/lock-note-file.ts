/**
 * Notes which locks the server may hold for this mount (reach/left-locks.ts), before it can. Owns when a note is written and
 * when the file is written anew: a program that locks and unlocks all the time is noted once.
 */
import { closeSync, constants, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import type { Logger } from '../../base/log.js';
import { errorCode } from '../../base/log.js';
import type { LockJournal } from '../../vfs/locks/lock-notes.js';
import {
  claim,
  headLine,
  type LockPlace,
  type NotedLock,
  newLockFileName,
  noteLine,
} from '../reach/left-locks.js';
import { openRuntimeFolder, type RuntimeFolder } from '../reach/runtime-folder.js';

const { O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
/** Notes that are not needed any more, and are kept before the file is written anew. */
const MAX_STALE = 4_096;

export class LockNoteFile implements LockJournal {
  /** The name of the file in the runtime folder. There is no file before the first lock. */
  readonly name: string;
  readonly #log: Logger;
  #where: LockPlace | undefined = undefined;
  #folder: RuntimeFolder | undefined;
  #fd: number | undefined = undefined;
  /** By the line: how often it is needed; 0 for lines that stay until the file is written anew. */
  readonly #lines = new Map<string, number>();
  #stale = 0;
  #isBroken = false;

  constructor(mountpoint: string, log: Logger) {
    this.name = newLockFileName(mountpoint);
    this.#log = log;
    this.#folder = openRuntimeFolder();
  }

  /** For another process that reads it: the folder's descriptor, and the name of the file in it. */
  get place(): { readonly folder: number; readonly name: string } | undefined {
    return this.#folder && { folder: this.#folder.fd, name: this.name };
  }

  /** Says where the locks are. To be called before the first note. */
  locksAreAt(place: LockPlace): this {
    this.#where = place;
    return this;
  }

  /** The server may hold or grant this from now on. The line is in the file when this returns. */
  note(lock: NotedLock): void {
    const line = noteLine(lock);
    const needed = this.#lines.get(line);
    this.#lines.set(line, (needed ?? 0) + 1);
    if (needed === undefined) this.#write(line);
    else if (needed === 0) this.#stale--;
  }

  /** Takes one {@link note} back. */
  forget(lock: NotedLock): void {
    const line = noteLine(lock);
    const needed = this.#lines.get(line) ?? 0;
    if (needed === 0) return;
    this.#lines.set(line, needed - 1);
    if (needed === 1 && ++this.#stale > MAX_STALE) this.#writeAnew();
  }

  /** The mount is over. `allReleased`: nobody need look for locks of it. Of no effect when it has been called before. */
  close(allReleased: boolean): void {
    const folder = this.#folder;
    if (this.#fd !== undefined) {
      if (allReleased && folder !== undefined) rmSync(folder.at(this.name), { force: true });
      closeSync(this.#fd);
    }
    this.#fd = undefined;
    this.#folder = undefined;
    folder?.close();
  }

  #write(line: string): void {
    if (this.#isBroken) return;
    try {
      this.#fd ??= this.#create('');
      writeSync(this.#fd, line);
    } catch (error) {
      this.#isBroken = true;
      this.#log.warn(
        `Locks cannot be noted in the runtime folder (${errorCode(error)}): if this process is killed, the server ` +
          'keeps its locks until it is restarted.',
      );
    }
  }

  /**
   * A file with these lines, in place of the last one. It gets its name when it is claimed and whole: whoever cleans up takes
   * away a file that nobody has claimed.
   */
  #create(lines: string): number {
    const folder = this.#folder;
    if (folder === undefined || this.#where === undefined) throw new Error('there is no such folder');
    const temporary = folder.at(`${this.name}.new`);
    const fd = openSync(temporary, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    try {
      claim(fd);
      writeSync(fd, headLine(this.#where) + lines);
      renameSync(temporary, folder.at(this.name));
      return fd;
    } catch (error) {
      closeSync(fd);
      rmSync(temporary, { force: true });
      throw error;
    }
  }

  #writeAnew(): void {
    const old = this.#fd;
    this.#stale = 0;
    if (old === undefined || this.#isBroken) return;
    try {
      const needed = [...this.#lines].filter(([, count]) => count > 0);
      this.#fd = this.#create(needed.map(([line]) => line).join(''));
      closeSync(old);
      this.#lines.clear();
      for (const [line, count] of needed) this.#lines.set(line, count);
    } catch {
      // The old file says all that is needed, and more.
    }
  }
}
