/**
 * Patience with a server that answers and still makes no headway: a pause before it is asked again, longer each time, and an
 * error in the end. Such a server would otherwise be asked as fast as it answers, for ever.
 */

import type { Clock } from '../../base/clock.js';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { Cancellation } from '../../rpc/client/rpc-caller.js';
import { pause } from './nfs-client.js';

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5_000;
/** Pauses before an error: 43 seconds in all. */
export const MAX_PAUSES = 12;

/** A step of fewer bytes than this, which is not the last one, is no headway. No server has smaller blocks. */
export const LEAST_STEP = 512;
/** Small steps that are not taken amiss: a server that is short of memory or space for a moment. */
const FREE_STEPS = 4;

/** The pause before attempt `attempt`, from 1 on. */
export function pauseBefore(attempt: number): number {
  return Math.min(FIRST_PAUSE_MS * 2 ** (attempt - 1), LONGEST_PAUSE_MS);
}

export class Patience {
  readonly #clock: Clock;
  readonly #complaint: string;
  #steps = 0;

  /** `complaint`: what the error says of the server. */
  constructor(clock: Clock, complaint: string) {
    this.#clock = clock;
    this.#complaint = complaint;
  }

  /**
   * After a step of `bytes` where `wanted` were asked for. Returns at once after one that is worth its call, else when it is
   * time for the next. @throws FuseError EIO when patience is at its end, EINTR when the caller stops waiting
   */
  async after(bytes: number, wanted: number, cancellation: Cancellation | undefined): Promise<void> {
    if (bytes >= Math.min(wanted, LEAST_STEP)) {
      this.#steps = 0;
      return;
    }
    const pauses = ++this.#steps - FREE_STEPS;
    if (pauses > MAX_PAUSES) throw new FuseError(Errno.EIO, this.#complaint);
    if (pauses > 0) await pause(this.#clock, pauseBefore(pauses), cancellation);
  }
}
