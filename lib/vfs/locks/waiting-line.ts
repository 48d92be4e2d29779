/**
 * The requests for locks of one file that wait, in the order in which programs asked. Owns whose turn it is to ask the
 * server: among programs of one mount the first to ask for a lock is the first to get it.
 *
 * One lets an earlier one go first only if its own lock cannot be had before that: it wants the same bytes or more, in the
 * same way or more strongly. Any other order could keep a lock from somebody for whom it is free, or have two clients wait
 * for each other.
 */
import { encloses } from '../../locks/index.js';
import type { ClientLock } from './lock-owners.js';

/** A request that waits. */
export interface PlaceInLine {
  readonly lock: ClientLock;
  /** The server has told it to wait since it was last seen to restart: where it has a queue, it stands there. */
  wasToldToWait: boolean;
}

export class WaitingLine {
  /** In the order of {@link join}. */
  readonly #places = new Set<PlaceInLine>();
  readonly #sleepers = new Set<() => void>();

  /** A request begins to wait. It ends with {@link leave}. */
  join(lock: ClientLock): PlaceInLine {
    const place: PlaceInLine = { lock, wasToldToWait: false };
    this.#places.add(place);
    return place;
  }

  /** The request has its lock, or is given up. */
  leave(place: PlaceInLine): void {
    this.#places.delete(place);
    this.#wake();
  }

  /** The server has answered that the lock is held. */
  toldToWait(place: PlaceInLine): void {
    if (place.wasToldToWait) return;
    place.wasToldToWait = true;
    this.#wake();
  }

  /** The server may have restarted: nobody stands in its queue any more. */
  serverRestarted(): void {
    for (const place of this.#places) place.wasToldToWait = false;
  }

  /**
   * Whether nobody has to ask the server before this request. `queues`: the server keeps those that wait in order, once it
   * has told them to wait. `holdsAgainst`: whether the owner of this request keeps another one waiting, which then cannot go
   * first.
   */
  isNext(place: PlaceInLine, queues: boolean, holdsAgainst: (earlier: ClientLock) => boolean): boolean {
    const { lock } = place;
    for (const earlier of this.#places) {
      if (earlier === place) return true;
      if (queues && earlier.wasToldToWait) continue;
      if (earlier.lock.owner.key === lock.owner.key || !encloses(lock, earlier.lock)) continue;
      if (earlier.lock.exclusive && !lock.exclusive) continue;
      if (!holdsAgainst(earlier.lock)) return false;
    }
    return true;
  }

  /** Calls `sleeper` whenever it may be another one's turn. The result ends that. */
  onChange(sleeper: () => void): () => void {
    this.#sleepers.add(sleeper);
    return () => this.#sleepers.delete(sleeper);
  }

  #wake(): void {
    for (const sleeper of [...this.#sleepers]) sleeper();
  }
}
