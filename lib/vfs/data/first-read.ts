/**
 * The first read of an open file: until when it is served by what was asked for along with the open. Owns that moment: as long after
 * the answer to the open as the open took, and never longer than a program needs that reads what it has opened.
 */

/** An open takes a minute where the network loses what is sent. Another client needs a part of that to change the file and say so. */
const LONGEST_MS = 20;

export class FirstRead {
  #until = Number.POSITIVE_INFINITY;
  #hasCome = false;

  /** It is served no later. Infinite where nothing was asked for along with the open. */
  get until(): number {
    return this.#until;
  }

  /** The open begins, and its data is asked for. */
  opens(now: number): void {
    this.#until = now;
  }

  /** The open is about to be answered. False: nothing was asked for along with it. */
  opened(now: number): boolean {
    if (!Number.isFinite(this.#until)) return false;
    this.#until = now + Math.min(now - this.#until, LONGEST_MS);
    return true;
  }

  /** A read begins. True: it is the first, and it comes too late. */
  comesLate(now: number): boolean {
    const isLate = !this.#hasCome && now > this.#until;
    this.#hasCome = true;
    return isLate;
  }
}
