/** Operations on open files: open with close-to-open, read, write, append, flush, fsync, release, truncate. */
import { Errno, FuseError } from '../fuse/errno.js';
import type { OpenReply, SetAttributes } from '../fuse/operations.js';
import { OpenFlag } from '../fuse/protocol.js';
import { type Fattr3, type NfsTime, type Sattr3, StableHow } from '../nfs3/index.js';
import { type Caller, unattended } from './caller.js';
import type { Inode } from './inode.js';
import type { Names } from './names.js';
import { OpenFile, opensForAppending, opensForReading, opensForWriting, writesThrough } from './open-file.js';
import type { Permission } from './permission.js';
import { ReadAhead } from './read-ahead.js';
import { possibleOperand } from './redrive.js';
import type { SillyRenames } from './silly-rename.js';
import type { VfsState } from './vfs-state.js';
import { FileWriter } from './write-behind.js';

/** Beyond this a byte offset would lose bits as a number; RFC 1813 lets files be larger. */
const MAX_OFFSET = BigInt(Number.MAX_SAFE_INTEGER);
const MAX_SECONDS = 0xffff_ffff;

export class Files {
  readonly #vfs: VfsState;
  readonly #permission: Permission;
  readonly #names: Names;
  readonly #silly: SillyRenames;
  readonly #open = new Map<number, OpenFile>();
  #nextFh = 1;

  constructor(vfs: VfsState, permission: Permission, names: Names, silly: SillyRenames) {
    this.#vfs = vfs;
    this.#permission = permission;
    this.#names = names;
    this.#silly = silly;
  }

  get(fh: number): OpenFile {
    const file = this.#open.get(fh);
    if (file === undefined) throw new FuseError(Errno.EBADF, `unknown file handle ${fh}`);
    return file;
  }

  async open(inode: Inode, flags: number, caller: Caller): Promise<OpenReply> {
    // Counted before anything is asked: an unlink that comes meanwhile finds the file in use.
    this.#pin(inode);
    try {
      if (inode.removing !== undefined) {
        await inode.removing;
        if (inode.stale) throw this.#vfs.redriver.staleError(inode, caller, 'path');
      }
      await this.#admit(inode, flags, caller);
      return this.#opened(inode, flags, caller);
    } catch (error) {
      this.#unpin(inode);
      throw error;
    }
  }

  /** The revalidation that close-to-open wants, and the server's leave. */
  async #admit(inode: Inode, flags: number, caller: Caller): Promise<void> {
    const { config } = this.#vfs;
    // What this mount has on its way is part of what the file is.
    if (inode.writer?.dirty) await inode.writer.drain();
    const granted = config.closeToOpen
      ? await this.#permission.revalidate(inode, caller)
      : await this.#permission.granted(inode, caller);
    this.#permission.checkOpen(granted, flags);
    if (inode.attributes?.nlink === 0 && inode.silly === undefined) {
      // Deleted by another client, and kept by the server for somebody: not what the path names any more.
      inode.stale = true;
      throw this.#vfs.redriver.staleError(inode, caller, 'path');
    }
  }

  /** A file that CREATE has just made: nothing of it is cached anywhere. */
  created(inode: Inode, flags: number, caller: Caller): OpenReply {
    this.#pin(inode);
    return this.#opened(inode, flags, caller);
  }

  #opened(inode: Inode, flags: number, caller: Caller): OpenReply {
    const vfs = this.#vfs;
    if (opensForWriting(flags)) inode.writer ??= new FileWriter(vfs, inode);
    const readAhead = opensForReading(flags) ? new ReadAhead(vfs, inode, caller.credential) : undefined;
    const file = new OpenFile(this.#nextFh++, inode, flags, caller.credential, readAhead);
    this.#open.set(file.fh, file);
    return { fh: file.fh, openFlags: this.#openFlags(inode, flags) };
  }

  #openFlags(inode: Inode, flags: number): number {
    const { counters, notifier } = this.#vfs;
    let openFlags = 0;
    if (inode.pagesGeneration === inode.generation) {
      counters.pages.hits++;
      openFlags |= OpenFlag.KEEP_CACHE;
    } else {
      if (inode.pagesGeneration !== -1) {
        counters.pages.invalidated++;
        // The kernel goes by the size that it knows until its attributes expire.
        notifier.invalidateAttributes(inode.nodeid);
      }
      inode.pagesGeneration = inode.generation;
    }
    // An append lands where the server's file ends, not where the kernel believes: no page may say otherwise.
    if (opensForWriting(flags) && opensForAppending(flags)) openFlags |= OpenFlag.DIRECT_IO;
    // Nothing of a reader's is to be written back when it closes: that saves a request.
    if (!opensForWriting(flags)) openFlags |= OpenFlag.NOFLUSH;
    return openFlags;
  }

  #pin(inode: Inode): void {
    if (inode.opens++ === 0) this.#vfs.inodes.pin(inode);
    this.#vfs.openFiles++;
  }

  #unpin(inode: Inode): void {
    inode.opens--;
    this.#vfs.openFiles--;
    if (inode.opens > 0) return;
    if (inode.writer?.clean) inode.writer = undefined;
    if (inode.silly !== undefined)
      void this.#silly.finish(inode).finally(() => this.#vfs.inodes.release(inode));
    else this.#vfs.inodes.release(inode);
  }

  async read(fh: number, offset: number, size: number, caller: Caller): Promise<readonly Uint8Array[]> {
    const file = this.get(fh);
    const { inode } = file;
    if (inode.writer?.overlaps(offset, offset + size)) await inode.writer.drain();
    if (file.readAhead === undefined) throw new FuseError(Errno.EBADF, 'not open for reading');
    return file.readAhead.read(offset, size, caller);
  }

  async write(
    fh: number,
    offset: number,
    data: Uint8Array,
    flags: number,
    fromPageCache: boolean,
  ): Promise<number> {
    const file = this.get(fh);
    const { inode } = file;
    if (BigInt(offset) + BigInt(data.length) > MAX_OFFSET) throw new FuseError(Errno.EFBIG);
    inode.writer ??= new FileWriter(this.#vfs, inode);
    inode.contentChanges++;
    if (file.appends && !fromPageCache) {
      await this.#append(file, inode.writer, offset, data);
    } else if (this.#vfs.config.sync || writesThrough(file.flags) || writesThrough(flags)) {
      await inode.writer.writeThrough(offset, data, file.credential);
      file.errorsSeen = inode.writer.errors;
    } else {
      await inode.writer.write(offset, data, file.credential);
    }
    return data.length;
  }

  /**
   * O_APPEND: the end of the file is where the server says it is now, and the data is there before the next
   * append is looked at. Appends through one mount queue up; NFSv3 cannot exclude another client that appends
   * between our GETATTR and our WRITE.
   */
  async #append(file: OpenFile, writer: FileWriter, kernelOffset: number, data: Uint8Array): Promise<void> {
    const { inode } = file;
    const before = inode.appending ?? Promise.resolve();
    const append = before.then(() => this.#appendNow(file, writer, kernelOffset, data));
    inode.appending = append.catch(() => {});
    await append;
  }

  async #appendNow(
    file: OpenFile,
    writer: FileWriter,
    kernelOffset: number,
    data: Uint8Array,
  ): Promise<void> {
    const vfs = this.#vfs;
    const { inode } = file;
    const caller = unattended(file.credential);
    await writer.drain();
    const attributes = await vfs.fetchAttributes(inode, caller, 'descriptor');
    if (attributes.size + BigInt(data.length) > MAX_OFFSET) throw new FuseError(Errno.EFBIG);
    const offset = Number(attributes.size);
    const through = vfs.config.sync || writesThrough(file.flags);
    try {
      await writer.writeThrough(
        offset,
        data,
        file.credential,
        through ? StableHow.FILE_SYNC : StableHow.UNSTABLE,
      );
    } finally {
      file.errorsSeen = writer.errors;
      if (offset !== kernelOffset) {
        vfs.notifier.invalidateAttributes(inode.nodeid);
        void vfs.notifier.invalidatePages(inode.nodeid, Math.min(offset, kernelOffset), 0);
      }
    }
  }

  /** close(2) and fsync(2): all that was written is on stable storage, or an error is thrown, once per open file. */
  async flush(fh: number): Promise<void> {
    const file = this.get(fh);
    const { writer } = file.inode;
    if (writer === undefined) return;
    await writer.flush();
    if (writer.errors === file.errorsSeen) return;
    file.errorsSeen = writer.errors;
    if (writer.lastError !== undefined) throw writer.lastError;
  }

  /** The last reference to `fh` is gone. What mmap wrote after the last close still goes to the server. */
  async release(fh: number): Promise<void> {
    const file = this.get(fh);
    const { inode } = file;
    this.#open.delete(fh);
    file.readAhead?.drop();
    const { writer } = inode;
    try {
      if (writer !== undefined && !writer.clean) await writer.flush();
      if (writer !== undefined && writer.errors !== file.errorsSeen && writer.lastError !== undefined) {
        this.#vfs.log.error(
          `a write failed after the file was closed, and nobody could be told: ${writer.lastError.message}`,
        );
      }
    } finally {
      this.#unpin(inode);
    }
  }

  /** chmod, chown, truncate, utimes and the like. Writes that came before are on the server first. */
  async setAttributes(inode: Inode, changes: SetAttributes, caller: Caller): Promise<Fattr3> {
    const { writer } = inode;
    // A WRITE that arrives after the SETATTR would move the mtime again, or write beyond a new end.
    // Most often it is the last thing that happens to a file before it is closed (tar, cp -p).
    if (writer?.dirty) await writer.drain(true);
    let asWhom = caller;
    if (changes.size !== undefined) {
      inode.contentChanges++;
      // ftruncate(2): the right to write was settled at open.
      const file = changes.fh === undefined ? undefined : this.#open.get(changes.fh);
      if (file !== undefined) asWhom = { ...caller, credential: file.credential };
    }
    const sattr: Sattr3 = {
      mode: changes.mode === undefined ? undefined : changes.mode & 0o7777,
      uid: changes.uid,
      gid: changes.gid,
      size: changes.size,
      atime: serverTime(changes.atime),
      mtime: serverTime(changes.mtime),
    };
    const operand = changes.fh === undefined ? possibleOperand(inode) : 'descriptor';
    const attributes = await this.#names.setAttributes(inode, sattr, asWhom, operand);
    if (changes.size !== undefined) writer?.truncated(Number(changes.size));
    return attributes;
  }

  /** The mount ends: everything is flushed. Errors are logged, since nobody is left to be told. */
  async flushAll(): Promise<void> {
    const writers = new Set<FileWriter>();
    for (const inode of this.#vfs.inodes.values()) if (inode.writer !== undefined) writers.add(inode.writer);
    await Promise.all(
      [...writers].map(async (writer) => {
        const { errors } = writer;
        await writer.flush();
        if (writer.errors !== errors) {
          this.#vfs.log.error(`data was lost at the end of the mount: ${writer.lastError?.message}`);
        }
      }),
    );
  }
}

/** NFSv3 times are unsigned 32-bit seconds: what lies outside becomes the nearest end, as Linux clamps them. */
function serverTime(time: NfsTime | 'now' | undefined): NfsTime | 'server' | undefined {
  if (time === 'now') return 'server';
  if (time === undefined || (time.seconds >= 0 && time.seconds <= MAX_SECONDS)) return time;
  return time.seconds < 0
    ? { seconds: 0, nanoseconds: 0 }
    : { seconds: MAX_SECONDS, nanoseconds: 999_999_999 };
}
