/**
 * The rules of a lock table, as plainly as can be: a mark for every byte, and a matrix of all owners for the question
 * of who waits for whom. Slow, and good for a few bytes and owners.
 */
import { LAST_BYTE, type LockRange } from '../../../lib/locks/index.js';

/** Bytes of a file in the model. */
export const BYTES = 16;

export interface ReferenceRequest {
  readonly file: number;
  readonly owner: number;
  readonly first: number;
  readonly last: number;
  readonly exclusive: boolean;
}

/** 0: unlocked, 1: shared, 2: exclusive. */
type Mark = 0 | 1 | 2;

/** The range that stands for these bytes. Files differ in where theirs lie: at the start, or at the very end. */
export function rangeOfBytes(file: number, first: number, last: number): LockRange {
  const atEnd = file % 2 === 1;
  const base = atEnd ? LAST_BYTE - BigInt(BYTES - 1) : 0n;
  // In the other files the last byte stands for all to the end.
  const end = last === BYTES - 1 ? LAST_BYTE : base + BigInt(last);
  return { start: base + BigInt(first), end };
}

export class ReferenceLocks {
  /** By file, owner and byte. */
  readonly #marks: Mark[][][];
  /** All that wait, in the order in which they came. */
  waiting: ReferenceRequest[] = [];

  constructor(
    files: number,
    private readonly owners: number,
  ) {
    this.#marks = Array.from({ length: files }, () =>
      Array.from({ length: owners }, () => new Array<Mark>(BYTES).fill(0)),
    );
  }

  marks(file: number, owner: number): Mark[] {
    return this.#marks[file]?.[owner] ?? [];
  }

  set({ file, owner, first, last }: Omit<ReferenceRequest, 'exclusive'>, mark: Mark): void {
    this.marks(file, owner).fill(mark, first, last + 1);
  }

  /** The owners that hold something against it. */
  holdersAgainst({ file, owner, first, last, exclusive }: ReferenceRequest): number[] {
    return [...Array(this.owners).keys()].filter(
      (other) =>
        other !== owner &&
        this.marks(file, other).some(
          (mark, byte) => byte >= first && byte <= last && (mark === 2 || (mark === 1 && exclusive)),
        ),
    );
  }

  /** Those of the queue that stand against it and before it. */
  #before(request: ReferenceRequest): ReferenceRequest[] {
    const place = this.waiting.indexOf(request);
    return this.waiting
      .slice(0, place < 0 ? undefined : place)
      .filter(
        (other) =>
          other.file === request.file &&
          other.owner !== request.owner &&
          (other.exclusive || request.exclusive) &&
          other.first <= request.last &&
          request.first <= other.last,
      );
  }

  /** For every pair of owners: whether the one waits for the other, also by way of others. */
  #waits(queue: boolean): boolean[][] {
    const waits = Array.from({ length: this.owners }, () => new Array<boolean>(this.owners).fill(false));
    const mark = (from: number, to: number): void => {
      const row = waits[from];
      if (row !== undefined) row[to] = true;
    };
    for (const request of this.waiting) {
      for (const holder of this.holdersAgainst(request)) mark(request.owner, holder);
      if (queue) for (const { owner } of this.#before(request)) mark(request.owner, owner);
    }
    const all = [...Array(this.owners).keys()];
    for (const by of all)
      for (const from of all) for (const to of all) if (waits[from]?.[by] && waits[by]?.[to]) mark(from, to);
    return waits;
  }

  wouldDeadlock(request: ReferenceRequest): boolean {
    const waits = this.#waits(false);
    return this.holdersAgainst(request).some((holder) => waits[holder]?.[request.owner] === true);
  }

  /** Whether a request that is ready to wait gets its lock now. */
  isFree(request: ReferenceRequest): boolean {
    if (this.holdersAgainst(request).length > 0) return false;
    const own = this.marks(request.file, request.owner).slice(request.first, request.last + 1);
    if (own.every((mark) => mark === 2 || (mark === 1 && !request.exclusive))) return true;
    const waits = this.#waits(true);
    return this.#before(request).every((earlier) => {
      const targets = [...this.holdersAgainst(earlier), ...this.#before(earlier).map(({ owner }) => owner)];
      return targets.some((owner) => owner === request.owner || waits[owner]?.[request.owner] === true);
    });
  }

  /** The locks of an owner as [range, exclusive], neighbours of one kind merged. */
  locksOf(file: number, owner: number): { range: LockRange; exclusive: boolean }[] {
    const marks = this.marks(file, owner);
    const result: { range: LockRange; exclusive: boolean }[] = [];
    for (let first = 0; first < BYTES; ) {
      const mark = marks[first];
      let last = first;
      while (last + 1 < BYTES && marks[last + 1] === mark) last += 1;
      if (mark !== 0) result.push({ range: rangeOfBytes(file, first, last), exclusive: mark === 2 });
      first = last + 1;
    }
    return result;
  }
}
