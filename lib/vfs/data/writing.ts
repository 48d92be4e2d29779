/**
 * write(2) on an open file: behind the caller's back, through to the server, or to the file's end. Owns the queue of
 * appends, and what becomes of the kernel's pages where a write goes past them.
 */
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import { StableHow } from '../../programs/nfs3/index.js';
import type { Cancellation } from '../../rpc/client/rpc-caller.js';
import type { CurrentAttributes } from '../attributes/current-attributes.js';
import type { Inode } from '../cache/inode.js';
import { type KernelRequest, unattended } from '../caller/caller.js';
import { interruptible } from '../caller/interruptible.js';
import type { ClientConfig } from '../config.js';
import type { KernelView } from '../kernel/kernel-view.js';
import { writesThrough } from '../open-flags.js';
import { FileWriter, type WriteBehindNeeds, writerOf } from '../write-behind/write-behind.js';
import type { LastAppend, WriteRecords } from '../write-behind/write-record.js';
import type { FileRecords } from './file-records.js';
import type { OpenFile } from './open-file.js';
import { RepeatedAppends } from './repeated-appends.js';

/** Beyond this a byte offset would lose bits as a number; RFC 1813 lets files be larger. */
const MAX_OFFSET = BigInt(Number.MAX_SAFE_INTEGER);

/** One write(2), as FUSE tells it. */
export interface WriteRequest {
  readonly offset: number;
  readonly data: Uint8Array;
  /** Of the descriptor as it is now: fcntl(2) may have changed them since open(2). */
  readonly flags: number;
  /** The kernel writes back pages of a mapping: nobody waits for it. */
  readonly fromPageCache: boolean;
  /** It goes past the kernel's pages. */
  readonly direct: boolean;
}

export interface WritingNeeds extends WriteBehindNeeds {
  readonly records: { readonly files: FileRecords; readonly writes: WriteRecords } | undefined;
  readonly config: ClientConfig;
  readonly current: CurrentAttributes;
  readonly kernel: KernelView;
}

export class Writing {
  readonly #vfs: WritingNeeds;

  readonly #repeated: RepeatedAppends;

  constructor(vfs: WritingNeeds) {
    this.#vfs = vfs;
    this.#repeated = new RepeatedAppends(vfs);
  }

  /** An earlier process of this mount has sent this append, or was about to. */
  appendedBefore(inode: Inode, append: LastAppend): void {
    this.#repeated.takeUp(inode, append);
  }

  /** The writer of a file that is open for writing, made if it has none yet. */
  writerFor(inode: Inode): FileWriter {
    const known = writerOf(inode);
    if (known !== undefined) return known;
    const writer = new FileWriter(this.#vfs, inode);
    inode.writer = writer;
    return writer;
  }

  /**
   * Takes the data; answers how many bytes. EINTR when the caller stops waiting: then nothing was taken, or, where
   * writes are synchronous, it is not known whether it was.
   */
  async write(
    file: OpenFile,
    request: WriteRequest,
    cancellation: KernelRequest | undefined,
  ): Promise<number> {
    const { offset, data, direct } = request;
    if (BigInt(offset) + BigInt(data.length) > MAX_OFFSET) throw new FuseError(Errno.EFBIG);
    const { inode } = file;
    const writer = this.writerFor(inode);
    inode.countContentChange();
    if (!direct) inode.pagesFilled = true;
    this.#vfs.kernel.doubts(inode);
    if (request.fromPageCache) await this.#fromPageCache(file, writer, request);
    else if (file.appends) await this.#append(file, writer, request, cancellation);
    else await this.#inPlace(file, writer, request, cancellation);
    return data.length;
  }

  /** Whether each write waits for the server, and for what it waits. */
  #promise(file: OpenFile, flags: number): { readonly through: boolean; readonly stable: StableHow } {
    const { sync, writeBehind } = this.#vfs.config;
    const synchronous = sync || writesThrough(file.flags) || writesThrough(flags);
    return {
      through: synchronous || writeBehind === 0,
      stable: synchronous ? StableHow.FILE_SYNC : StableHow.UNSTABLE,
    };
  }

  /** The kernel reports a failure with the next msync(2) or fsync(2). */
  async #fromPageCache(file: OpenFile, writer: FileWriter, request: WriteRequest): Promise<void> {
    const { through, stable } = this.#promise(file, request.flags);
    const { offset, data } = request;
    if (through) await writer.writeThrough(offset, data, file.credential, stable);
    else await writer.write(offset, data, file.credential);
  }

  async #inPlace(
    file: OpenFile,
    writer: FileWriter,
    request: WriteRequest,
    cancellation: KernelRequest | undefined,
  ): Promise<void> {
    const { through, stable } = this.#promise(file, request.flags);
    const { offset, data, direct } = request;
    await this.#reportOnce(file, writer, cancellation, () =>
      through
        ? writer.writeThrough(offset, data, file.credential, stable, cancellation)
        : writer.write(offset, data, file.credential, cancellation),
    );
    if (direct && file.inode.pagesFilled)
      await this.#dropPages(file.inode, offset, data.length, cancellation);
  }

  /**
   * O_APPEND: the end of the file is where the server says it is now, and the data is there before the next
   * append is looked at. Appends through one mount queue up; NFSv3 cannot exclude another client that appends
   * between our GETATTR and our WRITE.
   */
  async #append(
    file: OpenFile,
    writer: FileWriter,
    request: WriteRequest,
    cancellation: KernelRequest | undefined,
  ): Promise<void> {
    const { inode } = file;
    const before = inode.appending ?? Promise.resolve();
    // The request's memory is not ours any more when its caller stops waiting.
    const data = cancellation === undefined ? request.data : Buffer.from(request.data);
    let begun = false;
    const append = before.then(async () => {
      if (cancellation?.cancelled) throw new FuseError(Errno.EINTR);
      begun = true;
      const { errors } = writer;
      try {
        const { offset } = request;
        const write = (): Promise<void> => this.#atEnd(file, writer, { offset, data }, cancellation);
        await this.#reportOnce(file, writer, cancellation, write);
      } catch (error) {
        if (cancellation?.cancelled && writer.errors === errors) writer.lose(error);
        throw error;
      }
    });
    inode.appending = append.catch(() => {});
    try {
      await interruptible(append, cancellation);
    } catch (error) {
      // A program that repeated it after EINTR would append twice: it counts as written behind, and fails at close if
      // at all.
      const goesOn = begun && cancellation?.cancelled && !writesThrough(file.flags);
      if (!goesOn) throw error;
    }
  }

  /** The offset is where the kernel believes the end to be. */
  async #atEnd(
    file: OpenFile,
    writer: FileWriter,
    { offset: kernelOffset, data }: Pick<WriteRequest, 'offset' | 'data'>,
    kernelRequest: KernelRequest | undefined,
  ): Promise<void> {
    const { config, current, kernel } = this.#vfs;
    const { inode, credential } = file;
    await writer.drain();
    const attributes = await current.fetch(inode, unattended(credential), 'descriptor');
    const end = writer.sizeWith(attributes.size);
    if (end + BigInt(data.length) > MAX_OFFSET) throw new FuseError(Errno.EFBIG);
    const again = await this.#repeated.placeOf(file, data, attributes.size, kernelRequest);
    const offset = again ?? Number(end);
    if (kernelRequest?.unique) writer.record?.appends({ unique: kernelRequest.unique, offset });
    const stable = config.sync || writesThrough(file.flags) ? StableHow.FILE_SYNC : StableHow.UNSTABLE;
    try {
      await writer.writeThrough(offset, data, credential, stable);
    } finally {
      const asKernel = offset === kernelOffset;
      if (!asKernel) kernel.forget(inode);
      const from = Math.min(offset, kernelOffset);
      if (inode.pagesFilled) await this.#dropPages(inode, from, asKernel ? data.length : 0, undefined);
    }
  }

  /**
   * After a write that went past the kernel's pages, and before it is answered: pages that were read while it was
   * under way may hold what was there before. Of asynchronous writes the kernel drops pages only before it sends them
   * (generic_file_direct_write), and so of every write with FOPEN_DIRECT_IO. That this is waited for cannot lock up:
   * a page is held by a read or a write of pages, whose answers wait for no direct write's.
   */
  #dropPages(
    inode: Inode,
    offset: number,
    length: number,
    cancellation: Cancellation | undefined,
  ): Promise<void> {
    const dropped = this.#vfs.kernel.notifier.invalidatePages(inode.nodeid, offset, length);
    // The write is done, whether its caller waits for this or not.
    return interruptible(dropped, cancellation).catch(() => {});
  }

  /** Runs a write that reports its own error: close(2) does not report what this threw once more. */
  async #reportOnce(
    file: OpenFile,
    writer: FileWriter,
    request: KernelRequest | undefined,
    write: () => Promise<void>,
  ): Promise<void> {
    const { errors } = writer;
    try {
      await write();
    } catch (error) {
      if (!request?.cancelled && file.errorsSeen === errors && writer.errors === errors + 1)
        file.sawErrors(writer.errors, this.#vfs.records, request);
      throw error;
    }
  }
}

/**
 * Whether a read up to `end` has to wait for writes: where it meets them, and where it goes beyond what the server
 * has of a file that they make longer, since the gap before them would look like the end of the file.
 */
export function needsDrain(inode: Inode, end: number, overlaps: boolean): boolean {
  // The times that were set before the read, not those that it makes.
  if (overlaps || inode.writer?.setsLater) return true;
  return inode.writer?.dirty === true && BigInt(end) > (inode.attributes?.size ?? 0n);
}
