/**
 * Errors that nothing has caught. An exception from a file system operation does not come here: its request is answered
 * with EIO (lib/fuse/session/session.ts). A rejected promise that nobody waits for is logged, and the mount goes on. After
 * an exception from a callback the state of the process cannot be trusted, so the process ends, and the mount as well where no
 * other process would go on with it.
 */
import type { Logger } from '../../base/log.js';

export class CrashGuard {
  /** Resolves with an exception after which the process must end with an error. */
  readonly fatal: Promise<Error>;
  readonly #log: () => Logger;
  readonly #known: () => string;
  readonly #isKept: () => boolean;
  #resolveFatal: (error: Error) => void = () => {};

  readonly #onRejection = (reason: unknown) =>
    this.#log().error(`Internal error, the mount goes on: ${detail(reason)} (${this.#known()})`);

  readonly #onException = (error: unknown) => {
    const next = this.#isKept() ? 'another process goes on with the mount' : 'the mount ends';
    this.#log().error(`Internal error, ${next}: ${detail(error)} (${this.#known()})`);
    this.#resolveFatal(error instanceof Error ? error : new Error(String(error)));
  };

  /**
   * Listens from now on. `log` gets the errors; `known` describes what the mount was doing, for the log; `isKept`: whether another
   * process goes on with the mount.
   */
  constructor(log: () => Logger, known: () => string, isKept: () => boolean) {
    this.#log = log;
    this.#known = known;
    this.#isKept = isKept;
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
