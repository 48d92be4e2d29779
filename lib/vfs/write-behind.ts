/**
 * Write-behind for one file: gathers what programs write into WRITEs of up to wsize, has several on the wire,
 * and makes all of it stable with COMMIT. Owns the data from the moment a write(2) was answered until it is on
 * stable storage, and the errors that came too late for the write(2) that caused them.
 *
 * Rules (RFC 1813 3.3.7, 3.3.21; Linux fs/nfs/write.c): unstable data is kept until a COMMIT answers with the
 * verifier that its WRITE got; another verifier means that the server restarted, and it is written again.
 * WRITEs that overlap are never on the wire together. After an error writes are synchronous until one succeeds.
 */
import { Errno, FuseError } from '../fuse/errno.js';
import {
  COMMIT,
  StableHow as Stable,
  type StableHow,
  Status,
  type WccData,
  WRITE,
  type WriteResult,
} from '../nfs3/index.js';
import type { Timer } from '../rpc/clock.js';
import { type Caller, type UserCredential, unattended } from './caller.js';
import type { Inode } from './inode.js';
import type { VfsState } from './vfs-state.js';

/** Small writes wait so long for company before they are sent. */
const GATHER_MS = 1_000;
/** WRITEs on the wire per file. */
const MAX_IN_FLIGHT = 16;
/** Unstable data that makes us send a COMMIT of its own accord. */
const COMMIT_FROM = 32 * 1024 * 1024;
/** A gathering buffer starts at this size, so that a small file costs little. */
const FIRST_BUFFER = 16 * 1024;

/** A piece of the file that is on its way. */
class Extent {
  readonly offset: number;
  readonly credential: UserCredential;
  data: Buffer;
  length: number;
  /** Of the WRITE that carried it; undefined until it was answered. */
  verifier: string | undefined = undefined;

  constructor(offset: number, credential: UserCredential, data: Buffer, length: number) {
    this.offset = offset;
    this.credential = credential;
    this.data = data;
    this.length = length;
  }

  get end(): number {
    return this.offset + this.length;
  }

  overlaps(offset: number, end: number): boolean {
    return this.offset < end && offset < this.end;
  }
}

interface Sending {
  readonly extent: Extent;
  readonly done: Promise<void>;
}

export class FileWriter {
  readonly #vfs: VfsState;
  readonly #inode: Inode;
  #gathering: Extent | undefined = undefined;
  #gatherTimer: Timer | undefined = undefined;
  #sending: Sending[] = [];
  #unstable: Extent[] = [];
  #unstableBytes = 0;
  #committing: Promise<void> | undefined = undefined;
  #slots = MAX_IN_FLIGHT;
  #slotWaiters: (() => void)[] = [];
  #errors = 0;
  #lastError: FuseError | undefined = undefined;
  /** An error was met: nothing is gathered until a write succeeds. */
  #careful = false;

  constructor(vfs: VfsState, inode: Inode) {
    this.#vfs = vfs;
    this.#inode = inode;
  }

  /** Counts the write errors of this file; an open file that has seen fewer has one to report. */
  get errors(): number {
    return this.#errors;
  }

  get lastError(): FuseError | undefined {
    return this.#lastError;
  }

  /** Nothing is on its way and nothing waits for a COMMIT. */
  get clean(): boolean {
    return this.#gathering === undefined && this.#sending.length === 0 && this.#unstable.length === 0;
  }

  /** Something has not reached the server. */
  get dirty(): boolean {
    return this.#gathering !== undefined || this.#sending.length > 0;
  }

  /** The file's size, given what the server says and what has not reached it. */
  sizeWith(size: bigint): bigint {
    let end = this.#gathering?.end ?? 0;
    for (const { extent } of this.#sending) end = Math.max(end, extent.end);
    return size >= end ? size : BigInt(end);
  }

  /** Whether a read of this range needs {@link drain} first. */
  overlaps(offset: number, end: number): boolean {
    if (this.#gathering?.overlaps(offset, end)) return true;
    return this.#sending.some(({ extent }) => extent.overlaps(offset, end));
  }

  /** Takes a copy of `data`; resolves when it is taken, which waits while too much is on its way. */
  async write(offset: number, data: Uint8Array, credential: UserCredential): Promise<void> {
    if (this.#careful) {
      await this.writeThrough(offset, data, credential);
      return;
    }
    const budget = this.#vfs.writeBudget;
    if (!budget.tryTake(data.length)) {
      // Memory for the file's own unstable data comes back only with a COMMIT.
      const taken = budget.take(data.length);
      this.#send();
      this.#commitInBackground();
      await taken;
    }
    this.#gather(offset, data, credential);
  }

  #gather(offset: number, data: Uint8Array, credential: UserCredential): void {
    const { wsize } = this.#vfs.limits;
    let from = 0;
    while (from < data.length) {
      const at = offset + from;
      const fits = this.#roomFor(at, credential);
      if (fits <= 0) {
        this.#send();
        const room = Math.min(data.length - from, wsize);
        const size = room > FIRST_BUFFER / 2 ? Math.max(room, Math.min(wsize, room * 2)) : FIRST_BUFFER;
        this.#gathering = new Extent(at, credential, Buffer.allocUnsafeSlow(Math.min(size, wsize)), 0);
      }
      from += this.#append(at, data.subarray(from));
    }
    const gathered = this.#gathering;
    if (gathered !== undefined && gathered.length >= wsize) this.#send();
    else this.#gatherTimer ??= this.#vfs.clock.after(GATHER_MS, () => this.#send());
  }

  /** How many bytes at `offset` the gathering extent can take: it grows at its end and is rewritten within. */
  #roomFor(offset: number, credential: UserCredential): number {
    const extent = this.#gathering;
    if (extent === undefined || extent.credential !== credential) return 0;
    if (offset < extent.offset || offset > extent.end) return 0;
    return extent.offset + this.#vfs.limits.wsize - offset;
  }

  #append(offset: number, data: Uint8Array): number {
    const extent = this.#gathering;
    if (extent === undefined) return 0;
    const at = offset - extent.offset;
    const count = Math.min(data.length, this.#vfs.limits.wsize - at);
    if (at + count > extent.data.length) {
      const grown = Buffer.allocUnsafeSlow(
        Math.min(this.#vfs.limits.wsize, Math.max(at + count, extent.data.length * 4)),
      );
      extent.data.copy(grown, 0, 0, extent.length);
      extent.data = grown;
    }
    extent.data.set(count === data.length ? data : data.subarray(0, count), at);
    // Bytes written twice while gathering are held once.
    const added = Math.max(0, at + count - extent.length);
    if (added < count) this.#vfs.writeBudget.give(count - added);
    extent.length += added;
    return count;
  }

  /** Sends what was gathered. */
  #send(stable: StableHow = Stable.UNSTABLE): void {
    this.#gatherTimer?.cancel();
    this.#gatherTimer = undefined;
    const extent = this.#gathering;
    if (extent === undefined) return;
    this.#gathering = undefined;
    this.#start(extent, stable);
  }

  #start(extent: Extent, stable: StableHow): void {
    const before = this.#sending.filter((other) => other.extent.overlaps(extent.offset, extent.end));
    const sending: Sending = {
      extent,
      done: this.#transmit(extent, stable, before).then(() => {
        this.#sending.splice(this.#sending.indexOf(sending), 1);
        if (this.#unstableBytes >= COMMIT_FROM) this.#commitInBackground();
      }),
    };
    this.#sending.push(sending);
  }

  /** Writes one extent in full and settles what becomes of its data. Never rejects. */
  async #transmit(extent: Extent, stable: StableHow, before: readonly Sending[]): Promise<void> {
    for (const other of before) await other.done;
    if (this.#slots === 0) await new Promise<void>((resolve) => this.#slotWaiters.push(resolve));
    else this.#slots--;
    try {
      const { committed, verifier } = await this.#writeAll(
        extent.offset,
        extent.data.subarray(0, extent.length),
        stable,
        unattended(extent.credential),
      );
      this.#careful = false;
      if (committed === Stable.FILE_SYNC) {
        this.#vfs.writeBudget.give(extent.length);
      } else {
        extent.verifier = verifier;
        this.#unstable.push(extent);
        this.#unstableBytes += extent.length;
      }
    } catch (error) {
      this.#vfs.writeBudget.give(extent.length);
      this.#fail(error);
    } finally {
      const next = this.#slotWaiters.shift();
      if (next === undefined) this.#slots++;
      else next();
    }
  }

  #fail(error: unknown): void {
    this.#errors++;
    this.#careful = true;
    this.#lastError =
      error instanceof FuseError ? error : new FuseError(Errno.EIO, 'write failed', { cause: error });
  }

  /** WRITEs until all bytes are taken; short writes are continued. Answers the weakest promise of them. */
  async #writeAll(
    offset: number,
    data: Uint8Array,
    stable: StableHow,
    caller: Caller,
  ): Promise<{ committed: StableHow; verifier: string | undefined }> {
    let committed: StableHow = Stable.FILE_SYNC;
    let verifier: string | undefined;
    for (let done = 0; done < data.length; ) {
      const piece = data.subarray(done, done + this.#vfs.limits.wsize);
      const result = await this.#writeOnce(offset + done, piece, stable, caller);
      if (result.count === 0) throw new FuseError(Errno.EIO, 'the server wrote nothing');
      done += Math.min(result.count, piece.length);
      if (result.committed === Stable.FILE_SYNC) continue;
      // Two verifiers within one extent: no COMMIT can vouch for both, so it counts as lost at once.
      verifier = committed === Stable.FILE_SYNC || verifier === result.verifier ? result.verifier : '';
      committed = Stable.UNSTABLE;
    }
    return { committed, verifier };
  }

  async #writeOnce(offset: number, data: Uint8Array, stable: StableHow, caller: Caller) {
    const { attributes, redriver, nfs } = this.#vfs;
    const inode = this.#inode;
    attributes.beginChange(inode);
    let start = attributes.start();
    let result: WriteResult | undefined;
    try {
      result = await redriver.run(inode, caller, (file) => {
        start = attributes.start();
        return nfs.call(WRITE, { file, offset, stable, data }, caller);
      });
    } finally {
      attributes.endChange(inode, result?.wcc, start, true);
    }
    if (result.status !== Status.OK) throw redriver.failure(result, [inode], caller, 'descriptor');
    return result;
  }

  /** O_SYNC, `-o sync` and appends: on the server, in the order given, before it resolves. Throws the write's error. */
  async writeThrough(
    offset: number,
    data: Uint8Array,
    credential: UserCredential,
    stable: StableHow = Stable.FILE_SYNC,
  ): Promise<void> {
    await this.drain();
    // Kept as an extent like any other while it is on its way, so that reads and other writes see it.
    await this.#vfs.writeBudget.take(data.length);
    const copy = Buffer.from(data);
    const errorsBefore = this.#errors;
    this.#start(new Extent(offset, credential, copy, copy.length), stable);
    await this.drain();
    if (this.#errors !== errorsBefore && this.#lastError !== undefined) throw this.#lastError;
  }

  /**
   * Everything written so far has reached the server, stable or not. Errors stay for {@link flush}.
   * `atRest`: no more is expected soon, so that a file which fits one WRITE goes stable with it and needs no
   * COMMIT afterwards.
   */
  async drain(atRest = false): Promise<void> {
    const alone = this.#sending.length === 0 && this.#unstable.length === 0;
    this.#send(atRest && alone ? Stable.FILE_SYNC : Stable.UNSTABLE);
    await Promise.all(this.#sending.map(({ done }) => done));
  }

  /**
   * Everything written so far is on stable storage. Does not throw: whoever wrote asks for errors, and each
   * open file is told once.
   */
  async flush(): Promise<void> {
    await this.drain(true);
    // A COMMIT of our own accord may have taken all of it, and not be answered yet.
    while (this.#committing !== undefined || this.#unstable.length > 0) {
      await (this.#committing ?? this.#commit());
    }
  }

  #commitInBackground(): void {
    if (this.#committing === undefined && this.#unstable.length > 0) void this.#commit();
  }

  /** One COMMIT for all that is unstable now. Never rejects. */
  #commit(): Promise<void> {
    this.#committing = this.#commitOnce().finally(() => {
      this.#committing = undefined;
      if (this.#unstableBytes >= COMMIT_FROM || this.#vfs.writeBudget.waiting > 0) this.#commitInBackground();
    });
    return this.#committing;
  }

  async #commitOnce(): Promise<void> {
    const { attributes, redriver, nfs, counters, writeBudget } = this.#vfs;
    const extents = this.#unstable;
    const [first] = extents;
    if (first === undefined) return;
    const inode = this.#inode;
    const caller = unattended(first.credential);
    this.#unstable = [];
    this.#unstableBytes = 0;
    counters.commits++;
    attributes.beginChange(inode);
    let start = attributes.start();
    let wcc: WccData | undefined;
    try {
      const result = await redriver.run(inode, caller, (file) => {
        start = attributes.start();
        return nfs.call(COMMIT, { file, offset: 0, count: 0 }, caller);
      });
      wcc = result.wcc;
      if (result.status !== Status.OK) throw redriver.failure(result, [inode], caller, 'descriptor');
      const lost = extents.filter((extent) => extent.verifier !== result.verifier);
      for (const extent of extents) if (!lost.includes(extent)) writeBudget.give(extent.length);
      // In the order in which they were written; overlapping ones wait for each other.
      counters.rewrites += lost.length;
      for (const extent of lost) this.#start(extent, Stable.UNSTABLE);
    } catch (error) {
      for (const extent of extents) writeBudget.give(extent.length);
      this.#fail(error);
    } finally {
      attributes.endChange(inode, wcc, start, true);
    }
    await Promise.all(this.#sending.map(({ done }) => done));
  }

  /** The file was cut to `size`: unstable data beyond it must not come back with a rewrite. */
  truncated(size: number): void {
    const kept: Extent[] = [];
    for (const extent of this.#unstable) {
      const length = Math.max(0, Math.min(extent.length, size - extent.offset));
      this.#vfs.writeBudget.give(extent.length - length);
      this.#unstableBytes -= extent.length - length;
      extent.length = length;
      if (length > 0) kept.push(extent);
    }
    this.#unstable = kept;
  }
}
