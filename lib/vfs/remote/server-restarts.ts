/**
 * Signs that the server has restarted: a new connection, or another write verifier (RFC 1813 3.3.7). A restart takes
 * the server's locks with it. A sign may be wrong: servers also close connections that are idle.
 */
import type { ConnectionStep } from '../../rpc/transport/tcp-transport.js';

export class ServerRestarts {
  readonly #listeners: (() => void)[] = [];

  /** Calls `listener` at each sign. */
  onSeen(listener: () => void): void {
    this.#listeners.push(listener);
  }

  seen(): void {
    for (const listener of this.#listeners) listener();
  }

  /** A step of each connection of an RPC client that has so many: the ones after the first of each are signs. */
  watching(connections: number): ConnectionStep {
    let made = 0;
    return (socket) => {
      if (++made > connections) this.seen();
      return Promise.resolve(socket);
    };
  }
}
