/**
 * Failures of mounts that are over, until their driver has heard of it: it asks only after it has unmounted. Owns how
 * much is kept.
 */

const MOST_PLACES = 1024;
/** In JSON, an answer has room for so many characters, whatever they are. */
const MOST_CHARACTERS = 8_000;

export class EndedMounts {
  /** The failure of each place that nobody has asked about. Empty: all is well. The oldest first. */
  readonly #failures = new Map<string, string>();

  /** Whether a driver has still to ask. */
  get isAwaited(): boolean {
    return this.#failures.size > 0;
  }

  /** A mount is over, or has lost data. `failure`: undefined if all is well. */
  keep(place: string, failure: string | undefined): void {
    const all = [this.#failures.get(place) ?? '', failure ?? ''].filter((text) => text !== '').join(' ');
    this.#failures.delete(place);
    this.#failures.set(place, all.slice(0, MOST_CHARACTERS));
    for (const oldest of this.#failures.keys()) {
      if (this.#failures.size <= MOST_PLACES) return;
      this.#failures.delete(oldest);
    }
  }

  /** The failure at this place, for whoever asks about it. Undefined: all is well, or nothing is known. */
  take(place: string): string | undefined {
    const failure = this.#failures.get(place);
    this.#failures.delete(place);
    return failure === '' ? undefined : failure;
  }
}
