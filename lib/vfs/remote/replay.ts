/**
 * Echoes of our own success: a call that is not idempotent, was sent again because its reply got lost, and is
 * then refused because the first one worked (RFC 1813 4.4; servers' duplicate request caches are bounded and
 * do not outlive them). Owns the question whether an error may be such an echo.
 *
 * The same question arises when the process that had sent the call died before it answered the kernel's request, and the
 * kernel sends the request to the next process. The facts that this one needs are recorded before the call is sent.
 */
import { compareTime, type Fattr3, type NfsTime } from '../../programs/nfs3/index.js';
import type { Inode } from '../cache/inode.js';
import type { Caller } from '../caller/caller.js';

/** A request that an earlier process of this mount has taken. */
export interface EarlierRequest {
  /** It succeeded, and the kernel was not told. False: it is not known whether it did. */
  readonly isDone: boolean;
  /** Of its directory, before the first call for it was sent. */
  readonly ctime: NfsTime | undefined;
}

/** Requests by the kernel's number, for the next process of this mount. */
export interface RequestRecords {
  /** The first call for it is about to be sent. */
  begins(unique: number, ctime: NfsTime | undefined): void;
  /** It has succeeded. */
  done(unique: number): void;
  /** It has changed nothing. */
  failed(unique: number): void;
  /** It will be answered now, whatever came of it. */
  ended(unique: number): void;
  /** Undefined: no earlier process has sent a call for it, or what it sent changed nothing. */
  earlier(unique: number): EarlierRequest | undefined;
}

/** Follows one request: whether its calls went out more than once, and how the directory looked when the first one did. */
export class Replay {
  /** By this process, or by one before it. */
  retransmitted = false;
  /** An earlier process has done what is asked for: it must not be done once more. */
  readonly isDone: boolean;
  readonly #directoryCtime: NfsTime | undefined;
  readonly #records: RequestRecords | undefined;
  readonly #unique: number;

  constructor(directory: Inode, { request }: Pick<Caller, 'request'> = {}, records?: RequestRecords) {
    const unique = request?.unique ?? 0;
    this.#unique = unique;
    this.#records = unique === 0 ? undefined : records;
    const earlier = request?.resent ? this.#records?.earlier(unique) : undefined;
    this.isDone = earlier?.isDone === true;
    this.#directoryCtime = earlier === undefined ? directory.attributes?.ctime : earlier.ctime;
    if (earlier === undefined) this.#records?.begins(unique, this.#directoryCtime);
    else this.retransmitted = true;
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

  /** Runs the calls of the request. It counts as done when they succeed; where they fail, {@link changedNothing} may have said more. */
  async during<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      const result = await work();
      this.#records?.done(this.#unique);
      return result;
    } finally {
      this.#records?.ended(this.#unique);
    }
  }

  /** The server has refused what was asked for. */
  changedNothing(): void {
    this.#records?.failed(this.#unique);
  }
}
