/**
 * FUSE_INTERRUPT: which operations learn that their caller wants to stop waiting, and when. The kernel reports every
 * signal. If we answer EINTR, the application sees it, while the kernel's own NFS client reacts to fatal signals only.
 * So an interrupted operation first gets some time to answer normally.
 */
import type { FuseRequest } from './request.js';

/** The clock that grace periods run on. */
export interface SessionTimers {
  set(callback: () => void, milliseconds: number): unknown;
  clear(timer: unknown): void;
}

export const systemTimers: SessionTimers = {
  set: (callback, milliseconds) => setTimeout(callback, milliseconds),
  clear: (timer) => clearTimeout(timer as NodeJS.Timeout),
};

/** Resolves with `work`, and after `milliseconds` in any case. */
export async function within(
  milliseconds: number,
  timers: SessionTimers,
  work: Promise<unknown>,
): Promise<void> {
  let timer: unknown;
  const late = new Promise<void>((resolve) => {
    timer = timers.set(resolve, milliseconds);
  });
  await Promise.race([work, late]);
  timers.clear(timer);
}

/** At most this many interrupts are kept for requests that have not been read yet. */
const MAX_EARLY = 64;

export class Interrupts {
  readonly #timers: SessionTimers;
  readonly #graceMs: number;
  readonly #cancel: (request: FuseRequest) => void;
  readonly #early = new Set<number>();

  constructor(timers: SessionTimers, graceMs: number, cancel: (request: FuseRequest) => void) {
    this.#timers = timers;
    this.#graceMs = graceMs;
    this.#cancel = cancel;
  }

  /** The kernel reports that the caller of request `unique` got a signal. */
  interrupt(inFlight: ReadonlyMap<number, FuseRequest>, unique: number): void {
    const request = inFlight.get(unique);
    if (request !== undefined) {
      this.#startGrace(request);
      return;
    }
    // Mostly the request is answered already. But requests may be read out of order, so keep it: numbers are never
    // reused.
    const early = this.#early;
    early.add(unique);
    if (early.size > MAX_EARLY) for (const oldest of early) if (early.delete(oldest)) break;
  }

  /** An operation is under way that did not answer at once. */
  begun(request: FuseRequest, unique: number): void {
    if (this.#early.size > 0 && this.#early.delete(unique)) this.#startGrace(request);
  }

  /** The operation has answered. */
  ended(request: FuseRequest): void {
    this.#timers.clear(request.graceTimer);
    request.graceTimer = undefined;
  }

  #startGrace(request: FuseRequest): void {
    request.interrupted = true;
    if (request.cancelled || request.graceTimer !== undefined) return;
    request.graceTimer = this.#timers.set(() => {
      request.graceTimer = undefined;
      this.#cancel(request);
    }, this.#graceMs);
  }
}
