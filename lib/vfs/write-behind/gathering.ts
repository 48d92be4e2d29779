/**
 * Data that programs write in pieces, until it is worth a WRITE: one extent per file that grows at its end and is rewritten
 * within, up to wsize. Owns that extent and the time that it waits for company; its bytes are in the mount's budget
 * already. It gathers where the next process of this mount can find it, if there is such memory, so that the data need not be
 * copied twice.
 */
import type { Clock, Timer } from '../../base/clock.js';
import type { UserCredential } from '../caller/caller.js';
import type { TransferLimits } from '../config.js';
import type { TransferMemory } from '../memory/transfer-memory.js';
import { Extent } from './extent.js';
import type { WriteRecord } from './write-record.js';

/** The parts of the mount that this needs. */
export interface GatheringNeeds {
  readonly clock: Clock;
  readonly limits: TransferLimits;
  readonly memory: TransferMemory;
}

/** Small writes wait so long for company before they are sent. */
const GATHER_MS = 1_000;
/** A gathering buffer is at least this large. */
const LEAST_BUFFER = 1024;
/** A program that writes this many bytes at a time is likely to write as many again: there is room for them. */
const LARGE_WRITE = 128 * 1024;

const NOTHING = Buffer.alloc(0);

export class Gathering {
  readonly #vfs: GatheringNeeds;
  readonly #send: () => void;
  readonly #nextSequence: () => number;
  readonly #record: WriteRecord | undefined;
  #extent: Extent | undefined = undefined;
  #timer: Timer | undefined = undefined;

  /** `send` is to {@link take} what has gathered: there is enough of it, or it has waited long enough. */
  constructor(
    vfs: GatheringNeeds,
    send: () => void,
    nextSequence: () => number,
    record: WriteRecord | undefined,
  ) {
    this.#vfs = vfs;
    this.#record = record;
    this.#send = send;
    this.#nextSequence = nextSequence;
  }

  /** The data gathered so far. */
  get extent(): Extent | undefined {
    return this.#extent;
  }

  /** Its number; infinite if there is nothing. */
  get oldest(): number {
    return this.#extent?.sequence ?? Number.POSITIVE_INFINITY;
  }

  /** Copies and records `data`, sending what is full or does not go with it. */
  add(offset: number, data: Uint8Array, credential: UserCredential): void {
    const { wsize } = this.#vfs.limits;
    let from = 0;
    while (from < data.length) {
      const at = offset + from;
      if (this.#roomFor(at, credential) <= 0) {
        this.#send();
        this.#begin(at, Math.min(data.length - from, wsize), credential);
      }
      from += this.#append(at, data.subarray(from));
    }
    const gathered = this.#extent;
    if (gathered === undefined) return;
    // A writer that waits for memory waits for this, too.
    if (gathered.length >= wsize || this.#vfs.memory.writeBudget.waiting > 0) this.#send();
    else this.#timer ??= this.#vfs.clock.after(GATHER_MS, this.#send);
  }

  /** Hands over what has gathered, if there is something. */
  take(): Extent | undefined {
    this.#timer?.cancel();
    this.#timer = undefined;
    const extent = this.#extent;
    this.#extent = undefined;
    if (extent !== undefined) this.#trim(extent);
    return extent;
  }

  #begin(offset: number, room: number, credential: UserCredential): void {
    const { wsize } = this.#vfs.limits;
    const size = room >= LARGE_WRITE ? Math.min(wsize, room * 2) : Math.max(room, LEAST_BUFFER);
    this.#extent = new Extent(offset, credential, NOTHING, 0, this.#nextSequence());
    this.#place(this.#extent, size);
  }

  /** Gives the extent memory for `size` bytes. */
  #place(extent: Extent, size: number): void {
    const { writeBuffers } = this.#vfs.memory;
    extent.room = this.#record?.room(size, extent.sequence);
    extent.whole = extent.room === undefined;
    if (extent.room !== undefined) extent.data = extent.room.bytes;
    else extent.data = size >= writeBuffers.size ? writeBuffers.take() : Buffer.allocUnsafeSlow(size);
  }

  /** Moves what has gathered to memory for `size` bytes. */
  #move(extent: Extent, size: number): void {
    const { data, room, length } = extent;
    this.#place(extent, size);
    data.copy(extent.data, 0, 0, length);
    // Data in the old room counts as long as it is not recorded elsewhere.
    if (room === undefined || extent.room === undefined) return;
    this.#taken(extent, 0, length);
    this.#record?.left(room);
  }

  /** Lets go of memory that was never filled. */
  #trim(extent: Extent): void {
    const { data, length, room } = extent;
    // Rooms have few sizes, each four times the next.
    const isWaste = room === undefined ? length * 2 <= data.length : length * 4 <= data.length;
    if (isWaste && (room === undefined || data.length > LEAST_BUFFER)) this.#move(extent, length);
  }

  #taken(extent: Extent, from: number, to: number): void {
    const { sequence, credential, room } = extent;
    const data = extent.data.subarray(from, to);
    this.#record?.taken({ sequence, offset: extent.offset + from, data, credential, room });
  }

  /** How many bytes at `offset` the extent can take. */
  #roomFor(offset: number, credential: UserCredential): number {
    const extent = this.#extent;
    if (extent === undefined || extent.credential !== credential) return 0;
    if (offset < extent.offset || offset > extent.end) return 0;
    return extent.offset + this.#vfs.limits.wsize - offset;
  }

  #append(offset: number, data: Uint8Array): number {
    const extent = this.#extent;
    if (extent === undefined) return 0;
    const at = offset - extent.offset;
    const count = Math.min(data.length, this.#vfs.limits.wsize - at);
    if (at + count > extent.data.length)
      this.#move(extent, Math.min(this.#vfs.limits.wsize, Math.max(at + count, extent.data.length * 4)));
    extent.data.set(count === data.length ? data : data.subarray(0, count), at);
    // Bytes written twice while gathering are held once.
    const added = Math.max(0, at + count - extent.length);
    this.#vfs.memory.writeBudget.give(count - added);
    extent.length += added;
    this.#taken(extent, at, at + count);
    return count;
  }
}
