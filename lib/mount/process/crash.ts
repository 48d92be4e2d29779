/**
 * What nobody caught. An exception that an operation throws is not for here: its request is answered with EIO
 * (lib/fuse/session/session.ts). Here is what is left: a promise that failed without anybody waiting for it, which the mount
 * survives, and an exception out of a callback, after which the state is not to be relied on.
 */
import type { Logger } from '../../base/log.js';

export class CrashGuard {
  /** Resolves with an exception after which the mount should end: written back, unmounted, with an error. */
  readonly fatal: Promise<Error>;
  readonly #log: Logger;
  readonly #known: () => string;
  #resolveFatal: (error: Error) => void = () => {};

  readonly #onRejection = (reason: unknown) =>
    this.#log.error(`Internal error, the mount goes on: ${detail(reason)} (${this.#known()})`);

  readonly #onException = (error: unknown) => {
    this.#log.error(`Internal error, the mount ends: ${detail(error)} (${this.#known()})`);
    this.#resolveFatal(error instanceof Error ? error : new Error(String(error)));
  };

  /** Listens from now on. `known`: what there is to say about what was going on. */
  constructor(log: Logger, known: () => string) {
    this.#log = log;
    this.#known = known;
    this.fatal = new Promise((resolve) => {
      this.#resolveFatal = resolve;
    });
    process.on('unhandledRejection', this.#onRejection);
    process.on('uncaughtException', this.#onException);
  }

  dispose(): void {
    process.off('unhandledRejection', this.#onRejection);
    process.off('uncaughtException', this.#onException);
  }
}

function detail(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
