/** Time as the RPC layer sees it, so that tests can turn it by hand. */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since some moment in the past; never goes back. */
  now(): number;
  /** Calls `callback` once, `milliseconds` from now. */
  after(milliseconds: number, callback: () => void): Timer;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds);
    return { cancel: () => clearTimeout(timer) };
  },
};

/** Resolves or rejects as `work` does, or resolves after so many milliseconds. The work goes on all the same. */
export function atMost(clock: Clock, milliseconds: number, work: Promise<unknown>): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(milliseconds, resolve);
    work.then(() => resolve(), reject).finally(() => timer.cancel());
  });
}
