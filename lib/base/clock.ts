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
