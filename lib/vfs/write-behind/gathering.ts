/**
 * Data that programs write in pieces, until it is worth a WRITE: one extent per file that grows at its end and is rewritten
 * within, up to wsize. Owns that extent and the time that it waits for company; its bytes are in the mount's budget
 * already.
 */
import type { Clock, Timer } from '../../base/clock.js';
import type { UserCredential } from '../caller/caller.js';
import type { TransferLimits } from '../config.js';
import type { TransferMemory } from '../memory/transfer-memory.js';
import { Extent } from './extent.js';

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
const LARGE_WRITE = 32 * 1024;

export class Gathering {
  readonly #vfs: GatheringNeeds;
  readonly #send: () => void;
  readonly #nextSequence: () => number;
  #extent: Extent | undefined = undefined;
  #timer: Timer | undefined = undefined;

  /** `send` is to {@link take} what has gathered: there is enough of it, or it has waited long enough. */
  constructor(vfs: GatheringNeeds, send: () => void, nextSequence: () => number) {
    this.#vfs = vfs;
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

  /** Copies `data`, sending what is full or does not go with it. */
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
    extent?.trim();
    return extent;
  }

  #begin(offset: number, room: number, credential: UserCredential): void {
    const { limits } = this.#vfs;
    const { writeBuffers } = this.#vfs.memory;
    const size = room >= LARGE_WRITE ? Math.min(limits.wsize, room * 2) : Math.max(room, LEAST_BUFFER);
    const buffer = size >= limits.wsize ? writeBuffers.take() : Buffer.allocUnsafeSlow(size);
    this.#extent = new Extent(offset, credential, buffer, 0, this.#nextSequence());
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
    if (at + count > extent.data.length) {
      const size = Math.max(at + count, extent.data.length * 4);
      const { writeBuffers } = this.#vfs.memory;
      const grown = size >= writeBuffers.size ? writeBuffers.take() : Buffer.allocUnsafeSlow(size);
      extent.data.copy(grown, 0, 0, extent.length);
      extent.data = grown;
    }
    extent.data.set(count === data.length ? data : data.subarray(0, count), at);
    // Bytes written twice while gathering are held once.
    const added = Math.max(0, at + count - extent.length);
    this.#vfs.memory.writeBudget.give(count - added);
    extent.length += added;
    return count;
  }
}
