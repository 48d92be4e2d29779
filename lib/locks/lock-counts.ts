/** The bounds of a lock table: how many locks a group of owners, and all together, may hold and wait for. */

export interface LockBounds {
  /** Locks held by one group. Neighbours of one kind that one owner has of a file count as one. */
  readonly held: number;
  /** Locks that one group waits for. */
  readonly waiting: number;
  readonly heldByAll: number;
  readonly waitingOfAll: number;
}

export const NO_BOUNDS: LockBounds = {
  held: Number.POSITIVE_INFINITY,
  waiting: Number.POSITIVE_INFINITY,
  heldByAll: Number.POSITIVE_INFINITY,
  waitingOfAll: Number.POSITIVE_INFINITY,
};

interface Count {
  held: number;
  waiting: number;
}

export class LockCounts {
  readonly #bounds: LockBounds;
  readonly #groups = new Map<string, Count>();
  readonly #all: Count = { held: 0, waiting: 0 };

  constructor(bounds: LockBounds) {
    this.#bounds = bounds;
  }

  get held(): number {
    return this.#all.held;
  }

  get waiting(): number {
    return this.#all.waiting;
  }

  /** Whether the group may hold so many more. Fewer, or as many as now, are always allowed. */
  mayHold(group: string, more: number): boolean {
    if (more <= 0) return true;
    const held = this.#groups.get(group)?.held ?? 0;
    return held + more <= this.#bounds.held && this.#all.held + more <= this.#bounds.heldByAll;
  }

  /** Whether the group may wait for one more. */
  mayWait(group: string): boolean {
    const waiting = this.#groups.get(group)?.waiting ?? 0;
    return waiting < this.#bounds.waiting && this.#all.waiting < this.#bounds.waitingOfAll;
  }

  add(group: string, { held = 0, waiting = 0 }: Partial<Count>): void {
    const count = this.#groups.get(group) ?? { held: 0, waiting: 0 };
    for (const each of [count, this.#all]) {
      each.held += held;
      each.waiting += waiting;
    }
    if (count.held === 0 && count.waiting === 0) this.#groups.delete(group);
    else this.#groups.set(group, count);
  }
}
