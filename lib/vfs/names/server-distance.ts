/** How long the server takes to answer at least. Owns from where on it counts as far away. */

/** Milliseconds: to look at what a program is doing takes a third of that, and has to pay. */
export const FAR_MS = 0.4;
/** Answers that are remembered; as many as this are waited for, in part, before anything is said. */
const REMEMBERED = 16;
const LEAST = 4;

export class ServerDistance {
  readonly #lately: number[] = [];
  #count = 0;

  /** A call took so many milliseconds, whatever of that was waiting here. */
  took(ms: number): void {
    this.#lately[this.#count++ % REMEMBERED] = ms;
  }

  /** The quickest answer of late took long. False as long as few are known. */
  get isFar(): boolean {
    return this.#count >= LEAST && this.#lately.every((ms) => ms >= FAR_MS);
  }
}
