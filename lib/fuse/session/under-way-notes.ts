/**
 * Notes of the requests under way, in memory that outlives the process. They are for kernels that cannot repeat requests
 * (before Linux 6.9): nobody but the dead process knew what such a request asked for, so that the process that goes on
 * with the connection can only end it with an error.
 */
import { Errno } from '../contract/errno.js';
import { Size } from '../contract/protocol.js';
import type { Channel } from './channel/channel.js';
import { TWO_32 } from './message-buffer.js';
import { ReplyBuffer } from './reply.js';

/** Cell 0: the highest number of a request that was read. */
const HIGHEST = 0;
/** Cell 1: the highest number of a FORGET. It gets its number when it is read, and not when it begins to wait. */
const HIGHEST_FORGET = 1;
/** Cell 2: no request under way that has no cell of its own has a number below this; 0: each has its own cell. */
const LOWEST_WITHOUT_CELL = 2;
const FIRST_CELL = 3;
/** The kernel counts requests in steps of 2 (FUSE_REQ_ID_STEP): the lowest bit tells an INTERRUPT from its request. */
const STEP = 2;
/** As many numbers behind the last one noted may have been used up by callers that were killed before they were served. */
const MARGIN = 4096;

export class UnderWayNotes {
  readonly #cells: Float64Array;
  readonly #free: number[] = [];
  readonly #kept = new Map<number, number>();
  #withoutCell = 0;

  /** `cells`: of another session of this connection, or zeros. At least 64; more than there are requests at a time. */
  constructor(cells: Float64Array) {
    if (cells.length < 64)
      throw new RangeError(`${cells.length} cells for notes of requests; 64 are the least`);
    this.#cells = cells;
  }

  /**
   * Ends with EIO all that another process may have taken from the kernel and not answered. Only before the first request
   * is read here. An answer to a number that does not wait for one is refused by the kernel without effect.
   */
  endLeft(channel: Channel): void {
    const message = new ReplyBuffer(Size.OUT_HEADER);
    const end = (unique: number): void => {
      message.header(Size.OUT_HEADER, Errno.EIO, unique >>> 0, Math.floor(unique / TWO_32));
      channel.write(message, Size.OUT_HEADER);
    };
    const cells = this.#cells;
    const highest = cells[HIGHEST] ?? 0;
    // It may have died between the read and the note: then the request is one of the next.
    const last = Math.max(highest, cells[HIGHEST_FORGET] ?? 0) + MARGIN * STEP;
    for (let unique = cells[LOWEST_WITHOUT_CELL] || highest + STEP; unique <= last; unique += STEP)
      end(unique);
    for (const unique of cells.subarray(FIRST_CELL)) if (unique !== 0) end(unique);
    this.keep([]);
  }

  /** The notes are from now on those of `uniques`, which are under way. At no moment is one of these missing. */
  keep(uniques: readonly number[]): void {
    const cells = this.#cells;
    if (uniques.length > 0) cells[LOWEST_WITHOUT_CELL] = uniques.reduce((a, b) => Math.min(a, b));
    cells.fill(0, FIRST_CELL);
    this.#free.length = 0;
    for (let cell = cells.length - 1; cell >= FIRST_CELL; cell--) this.#free.push(cell);
    this.#withoutCell = 0;
    for (const unique of uniques) this.#kept.set(unique, this.#take(unique));
    if (this.#withoutCell === 0) cells[LOWEST_WITHOUT_CELL] = 0;
  }

  /** A request was read. Answers its cell, for {@link ended}. */
  begun(unique: number): number {
    const cells = this.#cells;
    if (unique > (cells[HIGHEST] ?? 0)) cells[HIGHEST] = unique;
    if (this.#kept.size > 0) {
      const cell = this.#kept.get(unique);
      if (cell !== undefined) {
        this.#kept.delete(unique);
        return cell;
      }
    }
    return this.#take(unique);
  }

  /** The request in this cell was answered. */
  ended(cell: number): void {
    if (cell === LOWEST_WITHOUT_CELL) {
      this.#withoutCell -= 1;
      if (this.#withoutCell === 0) this.#cells[LOWEST_WITHOUT_CELL] = 0;
      return;
    }
    this.#cells[cell] = 0;
    this.#free.push(cell);
  }

  /** A FORGET was read. */
  forget(unique: number): void {
    this.#cells[HIGHEST_FORGET] = unique;
  }

  #take(unique: number): number {
    const cell = this.#free.pop();
    if (cell !== undefined) {
      this.#cells[cell] = unique;
      return cell;
    }
    const lowest = this.#cells[LOWEST_WITHOUT_CELL] ?? 0;
    if (lowest === 0 || unique < lowest) this.#cells[LOWEST_WITHOUT_CELL] = unique;
    this.#withoutCell += 1;
    return LOWEST_WITHOUT_CELL;
  }
}
