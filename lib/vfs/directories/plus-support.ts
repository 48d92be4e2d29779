/** Where READDIRPLUS is of use: not on a server that lacks it, nor for a directory that it failed for. */
import type { Inode } from '../cache/inode.js';

export class PlusSupport {
  #everywhere = true;
  /** Directories that READDIRPLUS failed for, and their generation then: once they have changed, it is tried again. */
  readonly #namesOnly = new WeakMap<Inode, number>();

  isOfUse(directory: Inode): boolean {
    return this.#everywhere && this.#namesOnly.get(directory) !== directory.generation;
  }

  /** The server does not have the procedure. */
  isMissing(): void {
    this.#everywhere = false;
  }

  failedFor(directory: Inode): void {
    this.#namesOnly.set(directory, directory.generation);
  }
}
