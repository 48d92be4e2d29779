/**
 * Numbers that the kernel knows open files and directories by (fh of FUSE). None is given out twice within a mount, also when
 * another process goes on with it.
 */

/** Numbers from this one on are about to be given out. Answers the first that needs another call. */
export type ReserveNumbers = (from: number) => number;

export class GivenNumbers {
  #next: number;
  #reserved: number;
  readonly #reserve: ReserveNumbers | undefined;

  /** Counts from `first`. Without `reserve`, no other process can go on with the mount. */
  constructor(first: number, reserve: ReserveNumbers | undefined) {
    this.#next = first;
    this.#reserved = reserve === undefined ? Number.POSITIVE_INFINITY : first;
    this.#reserve = reserve;
  }

  next(): number {
    if (this.#next >= this.#reserved) this.#reserved = this.#reserve?.(this.#next) ?? this.#reserved;
    return this.#next++;
  }

  /** Numbers below this one may have been given out by an earlier process. */
  goOnFrom(number: number): void {
    this.#next = Math.max(this.#next, number);
  }
}
