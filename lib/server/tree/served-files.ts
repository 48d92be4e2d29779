/**
 * Open descriptors of regular files, kept from one READ or WRITE to the next. Owns them: none is closed while an
 * operation uses it, and none stays open for long without use, since a local process cannot run a program that is open
 * for writing. The server opens them with its own privileges, after it has checked that the caller has the permission.
 * Each later call is checked as well.
 */
import { chmodSync, closeSync, constants } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { LRUCache } from 'lru-cache';
import { type FileHandle, FileType, Status } from '../../programs/nfs3/index.js';
import { check, NfsError } from '../status-error.js';
import { AT_FDCWD, cString, openAt } from '../system-calls-at.js';
import { type FileStat, statDescriptor } from './file-stat.js';
import type { ObjectTable } from './object-table.js';
import type { ServedObject } from './served-object.js';

const { O_RDONLY, O_RDWR, O_WRONLY } = constants;

export class ServedFile {
  /** Operations that hold the descriptor at this moment. */
  users = 0;
  /** It was used since the last search for idle files. */
  isRecent = true;
  /** When it was last seen under a name in the export: milliseconds, monotonic. */
  seenAt: number;
  /** No longer in the cache: the last operation that uses it closes it. */
  evicted = false;
  /** Settles when the write that is under way has ended. */
  #writing: Promise<void> | undefined;

  constructor(
    readonly inode: ServedObject,
    readonly descriptor: number,
    readonly readable: boolean,
    readonly writable: boolean,
    seenAt: number,
  ) {
    this.seenAt = seenAt;
  }

  /**
   * Runs one write at a time, so that nothing else changes between the attributes before it and those after it.
   */
  async exclusively<T>(write: () => Promise<T>): Promise<T> {
    while (this.#writing !== undefined) await this.#writing;
    let done = () => {};
    this.#writing = new Promise((resolve) => {
      done = resolve;
    });
    try {
      return await write();
    } finally {
      this.#writing = undefined;
      done();
    }
  }

  /** Called once for each acquisition. */
  release(): void {
    this.users -= 1;
    if (this.evicted && this.users === 0) closeSync(this.descriptor);
  }

  evict(): void {
    if (this.evicted) return;
    this.evicted = true;
    if (this.users === 0) closeSync(this.descriptor);
  }
}

export interface ServedFilesOptions {
  readonly max: number;
  /** A file without use is closed after this many milliseconds, or up to twice as many. */
  readonly idleAfter: number;
  readonly readOnly: boolean;
  /** Milliseconds for which a file seen inside the export is trusted to be there. */
  readonly insideFor: number;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

/** Throws NfsError if the caller has no permission for the file. */
export type Permit = (stat: FileStat, descriptor: number) => void;

export class ServedFiles {
  readonly #table: ObjectTable;
  readonly #options: ServedFilesOptions;
  readonly #files: LRUCache<FileHandle, ServedFile>;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(table: ObjectTable, options: ServedFilesOptions) {
    this.#table = table;
    this.#options = options;
    this.#files = new LRUCache({ max: options.max, dispose: (file) => file.evict() });
  }

  get size(): number {
    return this.#files.size;
  }

  close(): void {
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
    this.#files.clear();
  }

  #keep(file: ServedFile): void {
    this.#files.set(file.inode.handle, file);
    this.#sweeper ??= setInterval(() => this.#sweep(), this.#options.idleAfter).unref();
  }

  #sweep(): void {
    for (const [handle, file] of [...this.#files.entries()]) {
      if (file.isRecent || file.users > 0) file.isRecent = false;
      else this.#files.delete(handle);
    }
    if (this.#files.size > 0) return;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }

  /**
   * The file, if it is open already. A descriptor still leads to its file when a local process has moved that out of
   * the export, or has removed its last name there. It must not be used then. Throws ObjectMovedError.
   */
  #known(inode: ServedObject): ServedFile | undefined {
    const file = this.#files.get(inode.handle);
    if (file === undefined) return undefined;
    const now = this.#options.now();
    if (now - file.seenAt <= this.#options.insideFor) return file;
    try {
      this.#table.locate(inode);
    } catch (error) {
      this.drop(inode);
      throw error;
    }
    file.seenAt = now;
    return file;
  }

  /**
   * Attributes by way of an open descriptor; undefined when there is none, or the file was removed. Throws
   * ObjectMovedError.
   */
  stat(inode: ServedObject): FileStat | undefined {
    const file = this.#known(inode);
    if (file === undefined) return undefined;
    const stat = statDescriptor(file.descriptor);
    return typeof stat === 'number' || stat.nlink === 0 ? undefined : stat;
  }

  /**
   * The open file for reading or writing, to be given back with release(). Where it has to be opened, `permit` is asked
   * first, since opening has effects on others (a program that is open for writing cannot be run, a file of an overlay
   * is copied). For a file that is open already, `permit` is not asked. Throws NFS3ERR_ISDIR or NFS3ERR_INVAL for what
   * is no regular file, and as `permit` and ObjectTable.get do.
   */
  acquire(inode: ServedObject, need: 'read' | 'write', permit: Permit): ServedFile {
    let file = this.#known(inode);
    if (file === undefined || !(need === 'read' ? file.readable : file.writable)) {
      file = this.#open(inode, need, permit);
      this.#keep(file);
    }
    file.isRecent = true;
    file.users += 1;
    return file;
  }

  /** Takes over the descriptor, open for reading and writing, of a file just created. */
  adopt(inode: ServedObject, descriptor: number): void {
    this.#keep(new ServedFile(inode, descriptor, true, true, this.#options.now()));
  }

  /** Closes the file, because it is gone or because it must not be open for what comes next. */
  drop(inode: ServedObject): void {
    this.#files.delete(inode.handle);
  }

  #open(inode: ServedObject, need: 'read' | 'write', permit: Permit): ServedFile {
    const { descriptor: pin, stat } = this.#table.pin(inode);
    try {
      if (stat.type === FileType.DIR) throw new NfsError(Status.ISDIR);
      if (stat.type !== FileType.REG) throw new NfsError(Status.INVAL);
      if (need === 'write' && this.#options.readOnly) throw new NfsError(Status.ROFS);
      permit(stat, pin);
      this.#table.requireData(stat.fsid);
      const { descriptor, flags } = this.#openBest(`/proc/self/fd/${pin}`, stat, need);
      const [readable, writable] = [flags !== O_WRONLY, flags !== O_RDONLY];
      return new ServedFile(inode, descriptor, readable, writable, this.#options.now());
    } finally {
      closeSync(pin);
    }
  }

  /**
   * A file that its owner has open stays usable when its mode no longer allows opening it (a new file with mode
   * 0444, say). NFS has no open, so servers let the owner through (RFC 1813 4.4); without privileges that takes a
   * moment with another mode.
   */
  #openBest(path: string, stat: FileStat, need: 'read' | 'write'): { descriptor: number; flags: number } {
    const cPath = cString(path);
    // Open for reading only until a write comes: opening a file of an overlay for writing copies the whole file.
    const wishes = need === 'read' ? [O_RDONLY] : [O_RDWR, O_WRONLY];
    let result = -osConstants.errno.EACCES;
    for (const flags of wishes) {
      result = openAt(AT_FDCWD, cPath, flags);
      if (result >= 0) return { descriptor: result, flags };
    }
    if (result !== -osConstants.errno.EACCES || stat.uid !== process.geteuid?.()) check(result);
    const flags = need === 'read' ? O_RDONLY : O_RDWR;
    chmodSync(path, stat.mode | 0o600);
    try {
      return { descriptor: check(openAt(AT_FDCWD, cPath, flags)), flags };
    } finally {
      chmodSync(path, stat.mode);
    }
  }
}
