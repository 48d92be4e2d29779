/** The source ports that a transport tries in turn: the one it had before, reserved ones, and one of the kernel's choice. */
import type { OpeningOptions } from './transport.js';

/** Linux's range of reserved source ports (sunrpc min_resvport and max_resvport), tried from the top. */
const FIRST_RESERVED_PORT = 1023;
const LAST_RESERVED_PORT = 665;

export class SourcePorts {
  readonly #options: OpeningOptions;
  /** Ports still to be tried, the last first. Undefined stands for the kernel's choice. */
  readonly #ports: (number | undefined)[] = [undefined];

  constructor(options: OpeningOptions) {
    this.#options = options;
    if (options.resvport) {
      for (let port = LAST_RESERVED_PORT; port <= FIRST_RESERVED_PORT; port++) this.#ports.push(port);
    }
    if (options.localPort !== undefined) this.#ports.push(options.localPort);
  }

  /** The next port to try; undefined: the kernel chooses. */
  next(): number | undefined {
    return this.#ports.pop();
  }

  /** Whether the next port may do what `error` says that this one cannot. Tells the user where no reserved one can. */
  mayTryNext(error: NodeJS.ErrnoException): boolean {
    const { log, resvport } = this.#options;
    if (error.code === 'EADDRINUSE' || error.code === 'EADDRNOTAVAIL') {
      if (this.#ports.length === 1 && resvport)
        log('no reserved source port is free; connecting from an ordinary one');
      return true;
    }
    if (error.code !== 'EACCES' && error.code !== 'EPERM') return false;
    log('no permission to use a reserved source port (resvport); connecting from an ordinary one');
    this.#ports.length = 1;
    return true;
  }
}
