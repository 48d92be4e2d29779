/**
 * A lower bound on the server's clock, from the ctimes that it sends. Owns the answer to one question: could an
 * object have changed again without its ctime showing it, because both changes fell into one tick of that clock?
 */
import type { NfsTime } from '../../programs/nfs3/index.js';

/** The coarsest tick of a file system with times below a second: a timer interrupt at 100 Hz, doubled. */
const TICK_MS = 20;
/** File systems that keep whole seconds show it by having no nanoseconds. */
const WHOLE_SECOND_MS = 1_000;
/** The server's clock is taken to run slower than ours by this much: drift, and a clock that is being slewed. */
const PACE = 0.999;

function milliseconds(time: NfsTime): number {
  return time.seconds * 1_000 + time.nanoseconds / 1e6;
}

/** Local times are of the mount's clock: milliseconds, monotonic. */
export class ServerClock {
  #newest = Number.NEGATIVE_INFINITY;
  #seenAt = 0;
  #ordered = true;

  /** False once a ctime was seen that is earlier than one from before it: no two of them can be put in order. */
  get ordered(): boolean {
    return this.#ordered;
  }

  /** The clock was stepped back, or the server consists of machines whose clocks differ. */
  wentBack(ctime: NfsTime, now: number): void {
    this.#ordered = false;
    this.#newest = milliseconds(ctime);
    this.#seenAt = now;
  }

  /** A reply that came at `now` held this ctime. Servers set ctimes by their clock alone: it is past that. */
  saw(ctime: NfsTime, now: number): void {
    const at = milliseconds(ctime);
    if (at <= this.#reached(now)) return;
    this.#newest = at;
    this.#seenAt = now;
  }

  #reached(local: number): number {
    const elapsed = local - this.#seenAt;
    return this.#newest + (elapsed > 0 ? elapsed * PACE : elapsed);
  }

  /** Whether at `local` the server's clock had certainly left the tick of `ctime`: a change would have shown. */
  hasLeft(ctime: NfsTime, local: number): boolean {
    const tick = ctime.nanoseconds === 0 ? WHOLE_SECOND_MS + TICK_MS : TICK_MS;
    return this.#reached(local) >= milliseconds(ctime) + tick;
  }
}
