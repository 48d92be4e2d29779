/**
 * Records of the kernel's requests for changes that must not be made twice: whether a call was sent for them, and whether it is
 * known to have succeeded. One stays for a while after its request was answered, since nobody says when the kernel has taken
 * the answer.
 */
import type { NfsTime } from '../../programs/nfs3/index.js';
import type { KeptRecord, RecordRef } from '../../records/index.js';
import type { EarlierRequest, RequestRecords } from '../remote/replay.js';
import { KeptRecords, RecordKind, RecordReader } from './record-text.js';

const DONE = 0;
/** Answers are written at once: far fewer than these are on their way. */
const KEPT_AFTER = 256;

/** A request as it was recorded. */
export interface RequestFound extends EarlierRequest {
  readonly ref: RecordRef;
  readonly unique: number;
}

export class KeptRequests extends KeptRecords implements RequestRecords {
  readonly #refs = new Map<number, RecordRef>();
  /** The oldest first. */
  readonly #ended = new Set<number>();
  readonly #earlier = new Map<number, EarlierRequest>();

  /** An earlier process has recorded it. */
  takeUp({ ref, unique, isDone, ctime }: RequestFound): void {
    this.#refs.set(unique, ref);
    this.#earlier.set(unique, { isDone, ctime });
    // Any of them may come again: none goes before new ones have ended.
    this.#ended.add(unique);
  }

  begins(unique: number, ctime: NfsTime | undefined): void {
    const text = this.text
      .begin()
      .number(unique)
      .u32(ctime === undefined ? 0 : 1);
    text.u32(ctime?.seconds ?? 0).u32(ctime?.nanoseconds ?? 0);
    this.#free(unique);
    this.#refs.set(unique, this.memory.put(RecordKind.REQUEST, [0], text.bytes, text.length));
  }

  done(unique: number): void {
    this.memory.setCell(this.#refs.get(unique) ?? 0, DONE, 1);
  }

  failed(unique: number): void {
    this.#free(unique);
    this.#earlier.delete(unique);
  }

  ended(unique: number): void {
    if (!this.#refs.has(unique)) return;
    this.#ended.delete(unique);
    this.#ended.add(unique);
    if (this.#ended.size <= KEPT_AFTER) return;
    const [oldest = 0] = this.#ended;
    this.#free(oldest);
    this.#earlier.delete(oldest);
  }

  earlier(unique: number): EarlierRequest | undefined {
    // It is under way once more.
    this.#ended.delete(unique);
    return this.#earlier.get(unique);
  }

  #free(unique: number): void {
    this.memory.free(this.#refs.get(unique) ?? 0);
    this.#refs.delete(unique);
    this.#ended.delete(unique);
  }
}

export function readRequest({ ref, cells, content }: KeptRecord): RequestFound {
  const reader = new RecordReader(content);
  const unique = reader.number();
  const isKnown = reader.u32() === 1;
  const ctime = { seconds: reader.u32(), nanoseconds: reader.u32() };
  return { ref, unique, isDone: cells[DONE] === 1, ctime: isKnown ? ctime : undefined };
}
