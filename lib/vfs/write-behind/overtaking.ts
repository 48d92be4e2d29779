/**
 * Whether a SETATTR of this mount may leave while the WRITE before it is still on its way. A server may carry out the later call
 * first; the replies show that, and then the SETATTR is sent once more. Owns the decision whether that pays.
 */
import { compareTime, type Fattr3, type Sattr3, sameTime } from '../../programs/nfs3/index.js';

/** A second SETATTR costs the round trip that one which left early has saved. */
const MOST = 32;

export class Overtaking {
  #credit = 8;

  get pays(): boolean {
    return this.#credit > 0;
  }

  /** The calls were carried out in the order in which they were sent, or not. */
  saw(inOrder: boolean): void {
    if (!this.pays) return;
    this.#credit = Math.min(MOST, this.#credit + (inOrder ? 1 : -1));
  }
}

/**
 * Whether `changes` were set after a WRITE that made the file end at `end`, or later. `set` and `written` are the file as the
 * replies to the SETATTR and to the WRITE showed it.
 */
export function wasSetLast(
  { mode, mtime }: Sattr3,
  end: number,
  set: Fattr3 | undefined,
  written: Fattr3 | undefined,
): boolean {
  if (set === undefined || written === undefined) return false;
  if (set.size < BigInt(end) || compareTime(written.ctime, set.ctime) > 0) return false;
  if (mode !== undefined && mode !== (set.mode & 0o7777)) return false;
  return typeof mtime !== 'object' || sameTime(set.mtime, mtime);
}
