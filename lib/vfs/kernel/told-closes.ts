/**
 * Which descriptors the kernel tells of when they are closed (FUSE_FLUSH). Owns the trade between a request for each close(2)
 * and the rule of POSIX that closing any descriptor of a file ends the process's fcntl(2) locks of it.
 *
 * Nothing can be made up for later: the last close of an open file is told without its process, which may have closed it long
 * before it took the lock, and left it to a child. A lock that ends wrongly loses data.
 */

import type { Inode } from '../cache/inode.js';
import type { ClientConfig } from '../config.js';

export class ToldCloses {
  /** A descriptor that is opened from now on may be one of a file that its process locks. */
  #all: boolean;

  /** All are told of where the user insists on locks at the server, unless the kernel keeps those of fcntl(2) itself. */
  constructor({ locks, localLock }: Pick<ClientConfig, 'locks' | 'localLock'>) {
    this.#all = locks === 'insist' && localLock !== 'posix' && localLock !== 'all';
  }

  /** A program of this mount asks for a fcntl(2) lock: from now on all are told of. */
  locksAreUsed(): void {
    this.#all = true;
  }

  /** Whether to tell of a descriptor that only reads: locks may have been taken, or somebody writes, and may lock. */
  ofReader({ writer }: Inode): boolean {
    return this.#all || writer !== undefined;
  }
}
