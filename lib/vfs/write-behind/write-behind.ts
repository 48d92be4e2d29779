/**
 * Write-behind for one file: has several WRITEs of what was gathered (gathering.ts) on the wire, and makes all of it
 * stable with COMMIT. Owns the data from the moment a write(2) was answered until it is on stable storage, and the
 * errors that came too late for the write(2) that caused them.
 *
 * Rules (RFC 1813 3.3.7, 3.3.21; Linux fs/nfs/write.c): unstable data is kept until a COMMIT answers with the
 * verifier that its WRITE got; another verifier means that the server restarted, and it is written again, but
 * for what was overwritten since. WRITEs that overlap are never on the wire together. After an error writes are
 * synchronous until one succeeds.
 */
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import { type Sattr3, StableHow as Stable, type StableHow } from '../../programs/nfs3/index.js';
import type { Cancellation } from '../../rpc/client/rpc-caller.js';
import type { Inode, PendingWrites } from '../cache/inode.js';
import { type UserCredential, unattended } from '../caller/caller.js';
import { interruptible } from '../caller/interruptible.js';
import type { VfsCounters } from '../counters.js';
import { pause } from '../remote/nfs-client.js';
import { MAX_PAUSES, pauseBefore } from '../remote/patience.js';
import type { ServerRestarts } from '../remote/server-restarts.js';
import { DeferredAttributes, type DeferredAttributesNeeds } from './deferred-attributes.js';
import { Extent } from './extent.js';
import { ExtentMap } from './extent-map.js';
import { Gathering, type GatheringNeeds } from './gathering.js';
import { IdleCommit } from './idle-commit.js';
import { PendingData } from './pending-data.js';
import { type Sending, sendingOf } from './sending-writes.js';
import { Slots } from './slots.js';
import { commitAll, type WriteCallsNeeds, writeAll } from './write-calls.js';
import { WriteErrors } from './write-errors.js';
import type { WriteRecord, WriteRecords } from './write-record.js';

/** The parts of the mount that this needs. */
export interface WriteBehindNeeds extends GatheringNeeds, WriteCallsNeeds, DeferredAttributesNeeds {
  readonly records: { readonly writes: WriteRecords } | undefined;
  readonly counters: VfsCounters;
  readonly restarts: ServerRestarts;
}

/** WRITEs on the wire per file. */
const MAX_IN_FLIGHT = 16;

export class FileWriter extends PendingData implements PendingWrites {
  readonly #vfs: WriteBehindNeeds;
  readonly inode: Inode;
  protected readonly gathering: Gathering;
  /** The COMMIT under way, or a change of the file's size that none may overlap. */
  #committing: Promise<void> | undefined = undefined;
  readonly #idle = new IdleCommit(() => this.#commitInBackground());
  readonly #slots = new Slots(MAX_IN_FLIGHT);
  #sequence = 0;
  readonly #errors = new WriteErrors();
  /** An error was met: nothing is gathered until a write succeeds. */
  #careful = false;
  /** The file is new, only its maker has it open, and the server takes that for its owner: by this credential. */
  maker: UserCredential | undefined = undefined;
  /** Undefined: no other process could go on with this mount. */
  readonly record: WriteRecord | undefined;

  constructor(vfs: WriteBehindNeeds, inode: Inode) {
    super();
    this.#vfs = vfs;
    this.inode = inode;
    this.record = vfs.records?.writes.of(inode);
    const number = (): number => ++this.#sequence;
    this.gathering = new Gathering(vfs, () => this.#send(), number, this.record);
  }

  /** Counts the write errors of this file; an open file that has seen fewer has one to report. */
  get errors(): number {
    return this.#errors.count;
  }

  get lastError(): FuseError | undefined {
    return this.#errors.last;
  }

  /** Nothing is on its way and nothing waits for a COMMIT. */
  get clean(): boolean {
    return !this.dirty && this.unstable.isEmpty && this.#committing === undefined;
  }

  /**
   * Sets attributes that the server is asked for later: with the data, and before {@link drain} and {@link flush} resolve.
   * `afterData`: a WRITE that is carried out later would undo some of it. Its failure is told as that of a write is. False: the
   * server has to be asked at once.
   */
  setLater(set: Sattr3, credential: UserCredential, afterData: boolean): boolean {
    return this.#deferred.defer({ set, credential, afterData });
  }

  /** An earlier process has set them, and not asked the server. */
  takeUpAttributes(set: Sattr3, credential: UserCredential): void {
    this.#deferred.takeUp({ set, credential, afterData: true });
  }

  get #deferred(): DeferredAttributes {
    this.attributes ??= new DeferredAttributes(this.#vfs, {
      inode: this.inode,
      record: this.record,
      drain: () => this.drain(),
      notSet: (error) => void this.#errors.met(error, this.record),
      settled: () => this.#settled(),
    });
    return this.attributes;
  }

  /** The server is asked for other attributes now: what was set before must not come once more. */
  setsNow(): void {
    this.attributes?.forget();
  }

  /**
   * Takes a copy of `data`; resolves when it is taken, which waits while too much is on its way. Throws EINTR,
   * having taken nothing, when the caller stops waiting.
   */
  async write(
    offset: number,
    data: Uint8Array,
    credential: UserCredential,
    cancellation?: Cancellation,
  ): Promise<void> {
    if (this.attributes !== undefined) await this.#afterAttributes(cancellation);
    if (this.#careful) {
      await this.writeThrough(offset, data, credential, Stable.FILE_SYNC, cancellation);
      return;
    }
    await this.#admit(data.length, cancellation);
    this.gathering.add(offset, data, credential);
  }

  /** A write moves the time of change that was set before it. */
  async #afterAttributes(cancellation: Cancellation | undefined): Promise<void> {
    while (this.attributes?.holdUpWrites) await interruptible(this.drain(), cancellation);
    this.attributes?.forget();
  }

  /** Waits until there is room for `bytes` in the file's queue and in the mount's budget, and takes it. */
  async #admit(bytes: number, cancellation: Cancellation | undefined): Promise<void> {
    while (this.sending.isFull) await interruptible(this.sending.changed(), cancellation);
    while (this.#committing !== undefined && this.unstable.isOverdue)
      await interruptible(this.#committing, cancellation);
    const { writeBudget, writers } = this.#vfs.memory;
    if (!writeBudget.tryTake(bytes)) await writeBudget.take(bytes, cancellation);
    writers.add(this);
  }

  /** Memory is short: what this file holds is sent and made stable, so that it can go. */
  relieve(): void {
    this.#send();
    this.#commitInBackground();
  }

  /** Sends what was gathered. */
  #send(stable: StableHow = Stable.UNSTABLE): void {
    const extent = this.gathering.take();
    if (extent !== undefined) this.#start(extent, stable);
  }

  /** `wait`: milliseconds before it goes out. */
  #start(extent: Extent, stable: StableHow, wait = 0): Sending {
    const before = this.sending.within(extent.offset, extent.end).map(({ done }) => done);
    const sending = sendingOf(extent);
    this.sending.add(sending);
    sending.done = this.#transmit(sending, stable, before, wait).then(() => {
      this.sending.delete(sending);
      // Memory for unstable data comes back only with a COMMIT.
      if (this.unstable.isDue || this.#vfs.memory.writeBudget.waiting > 0) this.#commitInBackground();
      this.#settled();
    });
    return sending;
  }

  #settled(): void {
    this.#idle.sees(this.#vfs.clock, !this.unstable.isEmpty);
    if (!this.isUnsent) this.record?.allReached();
    if (!this.clean && this.unstable.isEmpty) this.record?.stableBelow(this.oldest);
    if (!this.clean) return;
    this.record?.settled();
    this.attributes?.forget();
    const { writers, writeBuffers } = this.#vfs.memory;
    writers.delete(this);
    if (writers.size === 0) for (const one of [writeBuffers, this.#vfs.records?.writes]) one?.trim();
  }

  /** Writes one extent in full and settles what becomes of its data. Never rejects. */
  async #transmit(
    sending: Sending,
    stable: StableHow,
    before: readonly Promise<void>[],
    wait: number,
  ): Promise<void> {
    const { extent } = sending;
    for (const done of before) await done;
    if (wait > 0) await pause(this.#vfs.clock, wait, undefined);
    await this.#slots.take();
    this.#forget(extent.offset, extent.end);
    try {
      const { offset, credential } = extent;
      const data = extent.data.subarray(0, extent.length);
      const write = { offset, data, stable, onSent: sending.begin };
      const written = await writeAll(this.#vfs, this.inode, write, unattended(credential));
      const { committed, verifier } = written;
      sending.after = written.after;
      this.#careful = false;
      if (committed === Stable.FILE_SYNC) {
        this.#vfs.memory.writeBudget.give(extent.length);
        this.#recycle(extent);
      } else {
        extent.verifier = verifier;
        this.record?.reached(extent.offset, extent.end, verifier);
        this.unstable.add(extent);
        if (this.unstable.restarted) {
          this.#vfs.restarts.seen();
          this.#commitInBackground();
        }
      }
      this.unstable.wrote(extent.length);
    } catch (error) {
      this.#vfs.memory.writeBudget.give(extent.length);
      sending.error = this.lose(error);
    } finally {
      sending.begin();
      this.#slots.give();
    }
  }

  /** Its data is stable: nobody needs the buffer any more. */
  #recycle(extent: Extent): void {
    if (extent.whole) this.#vfs.memory.writeBuffers.give(extent.data);
  }

  /** Data that is overwritten or cut off must not come back with a rewrite. */
  #forget(offset: number, end: number): void {
    this.#vfs.memory.writeBudget.give(this.unstable.cut(offset, end));
  }

  /** An earlier process of this mount has numbered writes so far, and met so many errors. */
  takeUp(sequence: number, count: number): void {
    this.#sequence = Math.max(this.#sequence, sequence);
    this.#errors.takeUp(count);
  }

  /** Data is lost, and nobody waits for the answer: see {@link errors}. */
  lose(error: unknown): FuseError {
    this.#careful = true;
    return this.#errors.met(error, this.record);
  }

  /**
   * O_SYNC, `-o sync`, `-o writebehind=0` and appends: on the server, in the order given, before it resolves. Throws the
   * write's own error. EINTR, when the caller stops waiting, leaves open whether the data was taken; what was goes on.
   */
  async writeThrough(
    offset: number,
    data: Uint8Array,
    credential: UserCredential,
    stable: StableHow = Stable.FILE_SYNC,
    cancellation?: Cancellation,
  ): Promise<void> {
    await interruptible(this.drain(), cancellation);
    if (this.attributes !== undefined) await this.#afterAttributes(cancellation);
    await this.#admit(data.length, cancellation);
    // Kept as an extent like any other while it is on its way, so that reads and other writes see it.
    const copy = Buffer.from(data);
    const extent = new Extent(offset, credential, copy, copy.length, ++this.#sequence);
    const sending = this.#start(extent, stable);
    await interruptible(sending.done, cancellation);
    if (sending.error !== undefined) throw sending.error;
    // A server that promised less than it was asked for.
    if (stable === Stable.FILE_SYNC && extent.verifier !== undefined)
      await interruptible(this.flush(), cancellation);
    // Older data that the next process writes again must not come to lie over it, stable as it may be.
    else if (!this.clean) this.record?.taken({ sequence: extent.sequence, offset, data: copy, credential });
  }

  /**
   * Everything written and set so far has reached the server, stable or not. Errors stay for {@link flush}.
   * `atRest`: no more is expected soon, so that a file which fits one WRITE goes stable with it and needs no
   * COMMIT afterwards.
   */
  async drain(atRest = false): Promise<void> {
    const alone = this.sending.size === 0 && this.unstable.isEmpty;
    this.#send(atRest && alone ? Stable.FILE_SYNC : Stable.UNSTABLE);
    const writes = Array.from(this.sending);
    const set = this.attributes?.send(writes);
    if (writes.length > 0) await Promise.all(writes.map(({ done }) => done));
    await set;
  }

  /** {@link makeStable}, and others may look at the file from now on. */
  flush(): Promise<void> {
    this.maker = undefined;
    return this.makeStable();
  }

  /** Everything written and set so far is on stable storage. Does not throw: whoever wrote asks for errors, once per open file. */
  async makeStable(): Promise<void> {
    const upTo = this.#sequence;
    await this.drain(true);
    for (;;) {
      // A COMMIT that is under way may cover what was written, and turn out to have to write it again.
      if (this.#committing !== undefined) await this.#committing;
      else if (this.unstable.hasUpTo(upTo)) await this.#commit();
      else {
        const rewritten = Array.from(this.sending).filter(({ extent }) => extent.sequence <= upTo);
        if (rewritten.length > 0) await Promise.all(rewritten.map(({ done }) => done));
        else if (this.setsLater) await this.drain();
        else return;
      }
    }
  }

  #commitInBackground(): void {
    if (this.#committing === undefined && !this.unstable.isEmpty) void this.#commit();
  }

  /** One COMMIT for all that is unstable. Never rejects. */
  #commit = (): Promise<void> => this.#exclude(this.#commitOnce());

  /** No COMMIT is sent before `work` has ended. Never rejects. */
  #exclude(work: Promise<unknown>): Promise<void> {
    const ended = (): void => {
      this.#committing = undefined;
      this.record?.stableBelow(this.oldest);
      if (this.unstable.isDue || this.#vfs.memory.writeBudget.waiting > 0) this.#commitInBackground();
      this.#settled();
    };
    this.#committing = work.then(ended, ended);
    return this.#committing;
  }

  async #commitOnce(): Promise<void> {
    const { writeBudget } = this.#vfs.memory;
    const first = this.unstable.cover();
    if (first === undefined) return;
    this.#vfs.counters.commits++;
    try {
      const verifier = await commitAll(this.#vfs, this.inode, unattended(first.credential));
      const { stable, lost } = this.unstable.settle(verifier);
      for (const extent of stable) this.#recycle(extent);
      writeBudget.give(stable.reduce((bytes, { length }) => bytes + length, 0));
      if (lost.length > 0) this.#vfs.restarts.seen();
      for (const extent of lost) this.#rewrite(extent);
    } catch (error) {
      writeBudget.give(this.unstable.abandon());
      this.lose(error);
    }
  }

  /** The server lost it: it goes out again, but for what newer WRITEs overwrite that are already on their way. */
  #rewrite(extent: Extent): void {
    const left = new ExtentMap();
    left.add(extent);
    let superseded = 0;
    for (const { extent: newer } of this.sending) superseded += left.cut(newer.offset, newer.end);
    this.#vfs.memory.writeBudget.give(superseded);
    for (const part of left) {
      this.#vfs.counters.rewrites++;
      part.verifier = undefined;
      const again = part.rewrites++;
      // At first it is a restart. A server that never keeps its verifier can still write FILE_SYNC; one that does not do that
      // either has pauses to come to itself, and then the writer an error.
      const stable = again === 0 ? Stable.UNSTABLE : Stable.FILE_SYNC;
      this.attributes?.again();
      if (again <= MAX_PAUSES + 1) this.#start(part, stable, again < 2 ? 0 : pauseBefore(again - 1));
      else {
        this.#vfs.memory.writeBudget.give(part.length);
        this.lose(new FuseError(Errno.EIO, 'the server loses what was written, again and again'));
      }
    }
  }

  /**
   * Runs `change`, which cuts the file to `size` or extends it. Unstable data beyond the new end must not come
   * back with a rewrite, neither afterwards nor while the change is under way.
   */
  async resize<Answer>(size: number, change: () => Promise<Answer>): Promise<Answer> {
    for (;;) {
      if (this.#committing !== undefined) await this.#committing;
      else if (this.dirty) await this.drain();
      else break;
    }
    const upTo = this.#sequence;
    const resized = change().then((answer) => {
      this.#forget(size, Number.POSITIVE_INFINITY);
      this.record?.cutTo(size, upTo);
      return answer;
    });
    await this.#exclude(resized);
    return resized;
  }
}

/** The writer of a file that has been open for writing. */
export function writerOf(inode: Inode): FileWriter | undefined {
  return inode.writer instanceof FileWriter ? inode.writer : undefined;
}
