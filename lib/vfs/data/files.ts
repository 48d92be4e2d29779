/** Operations on open files: open with close-to-open, read, write, append, flush, fsync, release, truncate. */

import type { Logger } from '../../base/log.js';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { BorrowedData, OpenReply, SetAttributes } from '../../fuse/contract/operations.js';
import { OpenFlag } from '../../fuse/contract/protocol.js';
import type { Fattr3 } from '../../programs/nfs3/index.js';
import type { Cancellation } from '../../rpc/client/rpc-caller.js';
import { allowsOpen, type Permission } from '../access/permission.js';
import type { CurrentAttributes } from '../attributes/current-attributes.js';
import { GivenNumbers, type ReserveNumbers } from '../cache/given-numbers.js';
import { describePath, type Inode } from '../cache/inode.js';
import type { InodeTable } from '../cache/inode-table.js';
import type { OpenObjects } from '../cache/open-objects.js';
import { type Caller, type KernelRequest, type UserCredential, withGroups } from '../caller/caller.js';
import { interruptible } from '../caller/interruptible.js';
import type { ClientConfig } from '../config.js';
import type { VfsCounters } from '../counters.js';
import type { KernelView } from '../kernel/kernel-view.js';
import type { ToldCloses } from '../kernel/told-closes.js';
import type { TransferMemory } from '../memory/transfer-memory.js';
import type { Lookup } from '../names/lookup.js';
import type { SillyRenames } from '../names/silly-rename.js';
import { bypassesCache, opensForAppending, opensForReading, opensForWriting } from '../open-flags.js';
import type { Redriver } from '../remote/redrive.js';
import { overlay } from '../write-behind/extent.js';
import type { WriteBehindNeeds } from '../write-behind/write-behind.js';
import { type FileWriter, writerOf } from '../write-behind/write-behind.js';
import type { LastAppend, WriteRecords } from '../write-behind/write-record.js';
import { AttributeChanges, type AttributeChangesNeeds } from './attribute-changes.js';
import { EarlyReads } from './early-reads.js';
import type { FileRecords, RecordedFile } from './file-records.js';
import { OpenFile } from './open-file.js';
import type { ReadAheadNeeds } from './read-ahead.js';
import { ReadAhead } from './read-ahead.js';
import { needsDrain, type WriteRequest, Writing } from './writing.js';

/** The parts of the mount that this needs. */
export interface FilesNeeds extends AttributeChangesNeeds, ReadAheadNeeds, WriteBehindNeeds {
  readonly closes: ToldCloses;
  readonly config: ClientConfig;
  readonly counters: VfsCounters;
  readonly current: CurrentAttributes;
  readonly inodes: InodeTable;
  readonly kernel: KernelView;
  readonly log: Logger;
  readonly memory: TransferMemory<FileWriter>;
  readonly open: OpenObjects;
  readonly redriver: Redriver;
  readonly records:
    | { readonly files: FileRecords; readonly writes: WriteRecords; readonly fhs: ReserveNumbers }
    | undefined;
}

/** A file with data in memory that is not on the server's stable storage. */
export interface UnwrittenFile {
  /** From the mount's root, as text. */
  readonly path: string;
  readonly bytes: number;
}

/** A caller whose own rights do not matter. */
export type Asker = Pick<Caller, 'cancellation' | 'tid'>;

export class Files {
  readonly #vfs: FilesNeeds;
  readonly #permission: Permission;
  readonly #lookup: Lookup;
  readonly #silly: SillyRenames;
  readonly #writing: Writing;
  readonly #early: EarlyReads;
  readonly changes: AttributeChanges;
  readonly #open = new Map<number, OpenFile>();
  readonly fhs: GivenNumbers;
  /** Files that an earlier process of this mount had opened, by the kernel's number for the request. */
  readonly #openedBefore = new Map<number, OpenFile>();

  constructor(vfs: FilesNeeds, permission: Permission, lookup: Lookup, silly: SillyRenames) {
    this.#vfs = vfs;
    this.#permission = permission;
    this.#lookup = lookup;
    this.#silly = silly;
    this.fhs = new GivenNumbers(1, vfs.records?.fhs);
    this.#writing = new Writing(vfs);
    this.#early = new EarlyReads(vfs);
    this.changes = new AttributeChanges(vfs, (fh) => this.#open.get(fh));
  }

  find(fh: number): OpenFile | undefined {
    return this.#open.get(fh);
  }

  get(fh: number): OpenFile {
    const file = this.#open.get(fh);
    if (file === undefined) throw new FuseError(Errno.EBADF, `unknown file handle ${fh}`);
    return file;
  }

  async open(inode: Inode, flags: number, caller: Caller): Promise<OpenReply> {
    const writer = writerOf(inode);
    if (writer !== undefined) writer.maker = undefined;
    // Counted before anything is asked: an unlink that comes meanwhile finds the file in use.
    this.pin(inode);
    inode.opening++;
    let early: ReadAhead | undefined;
    try {
      if (inode.removing !== undefined) {
        await interruptible(inode.removing, caller.cancellation);
        if (inode.stale) throw this.#vfs.redriver.reportStale(inode, caller, 'path');
      }
      const admitted = this.#admit(inode, flags, caller);
      // After the question that it goes along with: the answers mostly come in this order as well.
      early = this.#early.begin(inode, flags, withGroups(caller, inode.attributes?.gid).credential);
      await admitted;
      return this.#opened(inode, flags, withGroups(caller, inode.attributes?.gid), early);
    } catch (error) {
      early?.drop();
      this.unpin(inode);
      throw error;
    } finally {
      inode.opening--;
    }
  }

  /** The revalidation that close-to-open wants, and the server's leave. */
  async #admit(inode: Inode, flags: number, caller: Caller): Promise<void> {
    // Data of this mount that is on its way is part of the file.
    if (inode.writer?.dirty) await interruptible(inode.writer.drain(), caller.cancellation);
    const { namesGeneration } = inode;
    await this.#permission.admit(inode, caller, (granted) => allowsOpen(granted, flags));
    // Deleted by another client, and kept by the server for somebody: not what the path names any more.
    if (inode.attributes?.nlink === 0 && inode.silly === undefined) {
      inode.markStale();
      throw this.#vfs.redriver.reportStale(inode, caller, 'path');
    }
    if (inode.namesGeneration !== namesGeneration) await this.#lookup.confirm(inode, caller);
    await this.#vfs.kernel.notified(inode);
  }

  /** A file that CREATE has just made: nothing of it is cached anywhere. */
  created(inode: Inode, flags: number, caller: Caller): OpenReply {
    this.pin(inode);
    return this.#opened(inode, flags, caller);
  }

  #opened(inode: Inode, flags: number, caller: Caller, early?: ReadAhead): OpenReply {
    const { records } = this.#vfs;
    const file = this.#add(this.fhs.next(), inode, flags, caller.credential, early);
    if (caller.request?.resent) this.#dropUntold(caller.request.unique ?? 0);
    records?.files.opened(file, caller.request);
    return { fh: file.fh, openFlags: this.#openFlags(inode, flags) };
  }

  #add(fh: number, inode: Inode, flags: number, credential: UserCredential, early?: ReadAhead): OpenFile {
    if (opensForWriting(flags)) this.#writing.writerFor(inode);
    const mayRead = opensForReading(flags);
    const readAhead = mayRead
      ? (early ?? new ReadAhead(this.#vfs, inode, credential, !bypassesCache(flags)))
      : undefined;
    readAhead?.opened(credential);
    const file = new OpenFile(fh, inode, flags, credential, readAhead);
    this.#open.set(fh, file);
    return file;
  }

  /** The same request had opened the file before, and the kernel was never told: nobody would close it. */
  #dropUntold(unique: number): void {
    const untold = this.#openedBefore.get(unique);
    if (untold === undefined) return;
    this.#openedBefore.delete(unique);
    if (!this.#open.delete(untold.fh)) return;
    this.#vfs.records?.files.closed(untold);
    this.unpin(untold.inode);
  }

  /** Takes up a file that an earlier process of this mount has opened. */
  takeUp(inode: Inode, recorded: RecordedFile): OpenFile {
    const { fh, flags, credential, errorsSeen, told, unique, record } = recorded;
    this.pin(inode);
    const file = this.#add(fh, inode, flags, credential);
    file.told = told;
    file.record = record;
    file.errorsSeen = errorsSeen;
    file.owesLoss = file.isUntold;
    if (unique !== 0) this.#openedBefore.set(unique, file);
    return file;
  }

  /** The data of a file on its way to stable storage. */
  writerOf(inode: Inode): FileWriter {
    return this.#writing.writerFor(inode);
  }

  /** Takes up the data of a file that an earlier process of this mount had taken from programs. */
  takeUpWrites(inode: Inode, errors: number, append: LastAppend | undefined): FileWriter {
    const writer = this.writerOf(inode);
    writer.takeUp(0, errors);
    if (append !== undefined) this.#writing.appendedBefore(inode, append);
    return writer;
  }

  #openFlags(inode: Inode, flags: number): number {
    const { closes, config, counters, kernel } = this.#vfs;
    let openFlags = config.directIo ? OpenFlag.DIRECT_IO : 0;
    if (inode.pagesGeneration === inode.generation && !inode.pagesRacy) {
      counters.pages.hits++;
      openFlags |= OpenFlag.KEEP_CACHE;
    } else {
      if (inode.pagesGeneration !== -1) counters.pages.invalidated++;
      inode.pagesGeneration = inode.generation;
      inode.pagesRacy = false;
      inode.pagesFilled = false;
    }
    // The kernel goes by the size that it was told, by a LOOKUP or a listing as well, until its attributes expire.
    kernel.refreshNow(inode);
    // An append lands where the server's file ends, not where the kernel believes: no page may say otherwise.
    if (opensForWriting(flags) && opensForAppending(flags)) openFlags |= OpenFlag.DIRECT_IO;
    if (!opensForWriting(flags) && !closes.ofReader(inode)) openFlags |= OpenFlag.NOFLUSH;
    return openFlags;
  }

  /** The file counts as open. Each needs its {@link unpin}. */
  pin(inode: Inode): void {
    this.#vfs.open.openFile(inode);
  }

  unpin(inode: Inode): void {
    this.#vfs.open.closeFile(inode, () => {
      if (inode.writer?.clean) {
        writerOf(inode)?.record?.ended();
        inode.writer = undefined;
      }
      return inode.silly === undefined ? undefined : this.#silly.finish(inode);
    });
  }

  /** The rights count that the descriptor was opened with, not those of the program that has it now. */
  async read(fh: number, offset: number, size: number, asker: Asker, direct = false): Promise<BorrowedData> {
    const file = this.get(fh);
    const { inode, credential } = file;
    const writer = writerOf(inode);
    if (!direct) inode.pagesFilled = true;
    this.#vfs.kernel.doubts(inode);
    const caller: Caller = { credential, cancellation: asker.cancellation, tid: asker.tid };
    if (needsDrain(inode, offset + size, writer?.overlaps(offset, offset + size) ?? false)) {
      await interruptible(writer?.drain() ?? Promise.resolve(), caller.cancellation);
    }
    if (file.readAhead === undefined) throw new FuseError(Errno.EBADF, 'not open for reading');
    const end = writer?.unstableEnd ?? 0;
    if (end <= offset) return file.readAhead.read(offset, size, caller);
    const unstable = writer?.unstableWithin(offset, offset + size) ?? [];
    const buffers = [this.#vfs.memory.writeBuffers, this.#vfs.records?.writes];
    for (const one of buffers) one?.beginReading();
    try {
      const { pieces, release } = await file.readAhead.read(offset, size, caller);
      return { pieces: overlay(pieces, offset, size, unstable, end), release };
    } finally {
      for (const one of buffers) one?.endReading();
    }
  }

  /** See {@link Writing.write}. */
  write(fh: number, request: WriteRequest, kernel: KernelRequest | undefined): Promise<number> {
    const file = this.get(fh);
    file.comesAgain(kernel);
    const loss = file.owesLoss ? this.#takeLoss(file, kernel) : undefined;
    if (loss !== undefined) return Promise.reject(loss);
    return this.#writing.write(file, request, kernel);
  }

  /** The error that this descriptor has not been told of. */
  #takeLoss(file: OpenFile, request: KernelRequest | undefined): FuseError | undefined {
    file.owesLoss = false;
    const writer = writerOf(file.inode);
    if (writer === undefined || writer.errors === file.errorsSeen) return undefined;
    file.sawErrors(writer.errors, this.#vfs.records, request);
    return writer.lastError;
  }

  /** Whether {@link flush} has anything to wait for. */
  waitsAtFlush(fh: number): boolean {
    return this.#open.get(fh)?.inode.writer?.clean === false;
  }

  /**
   * close(2) and fsync(2): all that was written is on stable storage, or an error is thrown, once per open file.
   * EINTR when the caller stops waiting; the writes go on, and what they come to is told the next time.
   */
  async flush(fh: number, cancellation?: Cancellation, request?: KernelRequest): Promise<void> {
    const file = this.get(fh);
    file.comesAgain(request);
    await this.#writeBack(file, cancellation, request);
    await this.#vfs.kernel.notified(file.inode);
  }

  async #writeBack(
    file: OpenFile,
    cancellation: Cancellation | undefined,
    request: KernelRequest | undefined,
  ): Promise<void> {
    const writer = writerOf(file.inode);
    if (writer === undefined) return;
    await interruptible(writer.flush(), cancellation);
    if (writer.errors === file.errorsSeen) return;
    file.owesLoss = false;
    file.sawErrors(writer.errors, this.#vfs.records, request);
    if (writer.lastError !== undefined) throw writer.lastError;
  }

  /** The last reference to `fh` is gone. Data that mmap wrote after the last close still goes to the server. */
  async release(fh: number): Promise<void> {
    const file = this.get(fh);
    const { inode } = file;
    this.#open.delete(fh);
    file.readAhead?.closed();
    const writer = writerOf(inode);
    try {
      if (writer !== undefined && !writer.clean) await writer.flush();
      if (writer?.lastError !== undefined && file.isUntold) {
        this.#vfs.counters.losses++;
        this.#vfs.log.error(
          `${describePath(inode)}: a write failed after the file was closed, and nobody could be told: ${writer.lastError.message}`,
        );
      }
    } finally {
      this.#vfs.records?.files.closed(file);
      this.unpin(inode);
    }
  }

  /** See {@link AttributeChanges.set}. */
  setAttributes(inode: Inode, changes: SetAttributes, caller: Caller): Promise<Fattr3> {
    return this.changes.set(inode, changes, caller);
  }

  /**
   * Everything is flushed. Resolves with a line for each file that lost data, now or since its open files were told
   * last; they are told as well. Never rejects.
   */
  async flushAll(): Promise<readonly string[]> {
    const untold = new Set<Inode>();
    for (const file of this.#open.values()) if (file.isUntold) untold.add(file.inode);
    const writers = new Set<FileWriter>();
    for (const inode of this.#vfs.inodes.values()) {
      const writer = writerOf(inode);
      if (writer !== undefined) writers.add(writer);
    }
    const losses: string[] = [];
    await Promise.all(
      [...writers].map(async (writer) => {
        const { errors, inode } = writer;
        await writer.flush();
        if (writer.errors !== errors || untold.has(inode)) {
          losses.push(`${describePath(inode)}: data was lost: ${writer.lastError?.message}`);
        }
      }),
    );
    return losses;
  }

  /** The files with data in memory that is not on the server's stable storage. */
  unwritten(): readonly UnwrittenFile[] {
    const files: UnwrittenFile[] = [];
    for (const writer of this.#vfs.memory.writers) {
      const bytes = writer.unwrittenBytes;
      if (bytes > 0) files.push({ path: describePath(writer.inode), bytes });
    }
    return files;
  }
}
