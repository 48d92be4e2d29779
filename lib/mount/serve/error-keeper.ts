/** A logger that remembers the last error: an error at the end of a mount makes the end a failure. */
import type { Logger } from '../../base/log.js';

export class ErrorKeeper implements Logger {
  /** The last error since the last {@link forget}. */
  lastError: string | undefined;
  readonly #log: Logger;

  /** Passes every message on to `log`. */
  constructor(log: Logger) {
    this.#log = log;
  }

  forget(): void {
    this.lastError = undefined;
  }

  info(message: string): void {
    this.#log.info(message);
  }

  warn(message: string): void {
    this.#log.warn(message);
  }

  error(message: string): void {
    this.lastError = message;
    this.#log.error(message);
  }
}
