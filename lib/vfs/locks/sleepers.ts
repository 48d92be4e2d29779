/** Requests for locks of one file that wait, and what wakes them. */

export class Sleepers {
  readonly #atServer = new Set<() => void>();
  readonly #queued = new Set<() => void>();

  /** Something was unlocked: all that wait look again, those in the table's queue and those at the server. */
  wake(): void {
    this.wakeQueue();
    for (const sleeper of [...this.#atServer]) sleeper();
  }

  /**
   * The table has granted a lock to one that waits in its queue. Those that wait at the server sleep on: the table grants
   * a range after each of their calls, and calls would follow calls.
   */
  wakeQueue(): void {
    for (const sleeper of [...this.#queued]) sleeper();
  }

  /** Calls `sleeper` at each {@link wake}, of one in the `queue` also at {@link wakeQueue}. The result ends that. */
  onWake(sleeper: () => void, queue: boolean): () => void {
    const sleepers = queue ? this.#queued : this.#atServer;
    sleepers.add(sleeper);
    return () => sleepers.delete(sleeper);
  }
}
