/**
 * Echoes of our own success: a call that is not idempotent, was sent again because its reply got lost, and is
 * then refused because the first one worked (RFC 1813 4.4; servers' duplicate request caches are bounded and
 * do not outlive them). Owns the question whether an error may be such an echo.
 */
import { compareTime, type Fattr3, type NfsTime } from '../../programs/nfs3/index.js';
import type { Inode } from '../cache/inode.js';

/** Follows one call: whether it went out more than once, and how the directory looked when it did first. */
export class Replay {
  retransmitted = false;
  readonly #directoryCtime: NfsTime | undefined;

  constructor(directory: Inode) {
    this.#directoryCtime = directory.attributes?.ctime;
  }

  readonly onRetransmit = (): void => {
    this.retransmitted = true;
  };

  /**
   * Whether an object found under the name may be what the call made: it changed no earlier than the directory
   * had when the call was sent, by the server's own clock.
   */
  mayHaveMade(found: Fattr3): boolean {
    return this.#directoryCtime === undefined || compareTime(found.ctime, this.#directoryCtime) >= 0;
  }
}
