/**
 * Signs that the server has restarted: a new connection, or another write verifier (RFC 1813 3.3.7). A restart takes
 * the server's locks with it. A sign may be wrong: servers also close connections that are idle.
 */

export class ServerRestarts {
  readonly #listeners: (() => void)[] = [];

  /** Calls `listener` at each sign. */
  onSeen(listener: () => void): void {
    this.#listeners.push(listener);
  }

  seen(): void {
    for (const listener of this.#listeners) listener();
  }

  /** To be called for each connection of an RPC client that has so many: those after the first of each are signs. */
  watching(connections: number): () => void {
    let made = 0;
    return () => {
      if (++made > connections) this.seen();
    };
  }
}
