/**
 * Programs that end with files open which they have written to. The kernel flushes those for them (FUSE_FLUSH), and no
 * signal reaches them any more, SIGKILL neither: with a server that does not answer they would stay for as long as that
 * lasts. Nobody sees what this close(2) comes to. So once the server counts as not responding they are let go; the data
 * stays, and goes to the server when it is back.
 */
import { readFileSync } from 'node:fs';
import type { Clock, Timer } from '../../base/clock.js';
import type { RequestContext } from '../../fuse/contract/operations.js';
import type { Cancellation } from '../../rpc/client/rpc-caller.js';

const LOOK_EVERY_MS = 1_000;
/** include/linux/sched.h */
const PF_EXITING = 0x4;

/** Whether a thread is in exit(2), by the flags in /proc/TID/stat; false where nobody can tell. */
export function isExiting(tid: number): boolean {
  if (tid === 0) return false;
  try {
    const stat = readFileSync(`/proc/${tid}/stat`, 'latin1');
    // The ninth field; the name of the program before it may contain anything.
    const flags = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[6]);
    return (flags & PF_EXITING) !== 0;
  } catch {
    return false;
  }
}

/** One who waits: interrupted by the kernel, or let go. */
class Waiting implements Cancellation {
  readonly #ctx: RequestContext;
  readonly #listeners: (() => void)[] = [];
  #cancelled = false;

  constructor(ctx: RequestContext) {
    this.#ctx = ctx;
    ctx.onCancel(() => this.cancel());
  }

  get tid(): number {
    return this.#ctx.pid;
  }

  get cancelled(): boolean {
    return this.#cancelled;
  }

  onCancel(listener: () => void): void {
    if (this.#cancelled) listener();
    else this.#listeners.push(listener);
  }

  cancel(): void {
    this.#cancelled = true;
    for (const listener of this.#listeners.splice(0)) listener();
  }
}

export class ExitingCallers {
  readonly #clock: Clock;
  readonly #isUnresponsive: () => boolean;
  readonly #isExiting: (tid: number) => boolean;
  readonly #waiting = new Set<Waiting>();
  #timer: Timer | undefined;

  constructor(clock: Clock, isUnresponsive: () => boolean, exiting = isExiting) {
    this.#clock = clock;
    this.#isUnresponsive = isUnresponsive;
    this.#isExiting = exiting;
  }

  /** Resolves or rejects as `work` does, which is cancelled when its caller is interrupted, or has ended and waits in vain. */
  async wait<T>(ctx: RequestContext, work: (cancellation: Cancellation) => Promise<T>): Promise<T> {
    const waiting = new Waiting(ctx);
    this.#waiting.add(waiting);
    this.#timer ??= this.#clock.after(LOOK_EVERY_MS, () => this.#look());
    try {
      return await work(waiting);
    } finally {
      this.#waiting.delete(waiting);
      if (this.#waiting.size === 0) {
        this.#timer?.cancel();
        this.#timer = undefined;
      }
    }
  }

  #look(): void {
    this.#timer = this.#clock.after(LOOK_EVERY_MS, () => this.#look());
    if (!this.#isUnresponsive()) return;
    for (const waiting of this.#waiting) if (this.#isExiting(waiting.tid)) waiting.cancel();
  }
}
