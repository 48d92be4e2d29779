/** Signals that ask for the end: the first one for an orderly end, the second one for an immediate end. */

export class StopSignals {
  /** Resolves with the first signal. */
  readonly first: Promise<NodeJS.Signals>;
  /** Resolves with the second one. */
  readonly second: Promise<NodeJS.Signals>;
  #count = 0;
  #resolveFirst: (signal: NodeJS.Signals) => void = () => {};
  #resolveSecond: (signal: NodeJS.Signals) => void = () => {};
  readonly #signals: readonly NodeJS.Signals[];
  readonly #listener = (signal: NodeJS.Signals) => this.request(signal);

  /** Listens from now on. */
  constructor(signals: readonly NodeJS.Signals[]) {
    this.first = new Promise((resolve) => {
      this.#resolveFirst = resolve;
    });
    this.second = new Promise((resolve) => {
      this.#resolveSecond = resolve;
    });
    this.#signals = signals;
    for (const signal of signals) process.on(signal, this.#listener);
  }

  /** Whether a signal has come. */
  get requested(): boolean {
    return this.#count > 0;
  }

  /** Whether a second one has come. */
  get requestedAtOnce(): boolean {
    return this.#count > 1;
  }

  /** Acts as if the signal had come. */
  request(signal: NodeJS.Signals): void {
    this.#count += 1;
    if (this.#count === 1) this.#resolveFirst(signal);
    else this.#resolveSecond(signal);
  }

  dispose(): void {
    for (const signal of this.#signals) process.off(signal, this.#listener);
  }
}
