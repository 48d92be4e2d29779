/**
 * The metrics of one mount over HTTP, for a scraper: `GET /metrics`. Owns the listening socket, and what a stranger who connects
 * can cost. Everybody who reaches the address may read names of the server and of the export, and counts.
 */
import { existsSync, lstatSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { errorCode, type Logger } from '../../base/log.js';
import { UserError } from '../../base/user-error.js';
import { type EndpointAddress, endpointText } from './endpoint-address.js';

export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
const MOST_CONNECTIONS = 16;
const HEADERS_MS = 5_000;
const LOOK_MS = 2_000;
const REQUEST_MS = 10_000;
const MOST_HEADER_BYTES = 8 * 1024;
/** The process before may hold the address for a moment after another one has gone on. */
const AGAIN_MS = 250;
const TELL_AFTER = 40;
/** Of umask(2): only this user and root may connect to a socket. */
const ONLY_OWN = 0o177;

export class MetricsEndpoint {
  readonly #address: EndpointAddress;
  readonly #log: Logger;
  #server: Server | undefined;
  #text: (() => string) | undefined;
  #isClosed = false;
  #retry: NodeJS.Timeout | undefined;

  private constructor(address: EndpointAddress, log: Logger) {
    this.#address = address;
    this.#log = log;
  }

  /** Listens. Until {@link serve}, answers that the mount is not there yet. @throws UserError: the address cannot be had */
  static async open(address: EndpointAddress, log: Logger): Promise<MetricsEndpoint> {
    const endpoint = new MetricsEndpoint(address, log);
    await removeLeftSocket(address);
    const failure = await endpoint.#listen();
    if (failure !== undefined) throw cannotListen(address, failure);
    return endpoint;
  }

  /** The same in the place of another process, whose address may not be free yet: tries again until it is. */
  static openAgain(address: EndpointAddress, log: Logger): MetricsEndpoint {
    const endpoint = new MetricsEndpoint(address, log);
    void endpoint.#keepTrying(1);
    return endpoint;
  }

  /** `text` makes the answer to each scrape. */
  serve(text: () => string): void {
    this.#text = text;
  }

  /** Frees the address. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#server?.close();
    this.#server?.closeAllConnections();
    this.#server = undefined;
  }

  async #keepTrying(attempt: number): Promise<void> {
    await removeLeftSocket(this.#address);
    const failure = this.#isClosed ? undefined : await this.#listen();
    if (failure === undefined) return;
    if (attempt === TELL_AFTER) {
      const { message } = cannotListen(this.#address, failure);
      this.#log.warn(`${message} Nobody can read the metrics of this mount there until it is free.`);
    }
    this.#retry = setTimeout(() => void this.#keepTrying(attempt + 1), AGAIN_MS);
    this.#retry.unref();
  }

  /** Resolves with the code of what failed. */
  #listen(): Promise<string | undefined> {
    const address = this.#address;
    const server = createServer(
      {
        headersTimeout: HEADERS_MS,
        requestTimeout: REQUEST_MS,
        connectionsCheckingInterval: LOOK_MS,
        maxHeaderSize: MOST_HEADER_BYTES,
      },
      (request, response) => this.#answer(request, response),
    );
    server.maxConnections = MOST_CONNECTIONS;
    return new Promise((resolve) => {
      server.on('error', (error) => resolve(errorCode(error)));
      const listening = (): void => {
        if (this.#isClosed) server.close();
        else this.#server = server;
        // The mount decides how long the process lives.
        server.unref();
        resolve(undefined);
      };
      if ('socket' in address) {
        // Node makes it within this call.
        const before = process.umask(ONLY_OWN);
        server.listen(address.socket, listening);
        process.umask(before);
      } else server.listen(address.port, address.host, listening);
    });
  }

  #answer({ method, url = '' }: IncomingMessage, response: ServerResponse): void {
    const [path] = url.split('?');
    if (method !== 'GET' && method !== 'HEAD') end(response, 405, 'Only GET is answered here.\n');
    else if (path !== '/metrics') end(response, 404, 'The metrics are at /metrics.\n');
    else if (this.#text === undefined) end(response, 503, 'Nothing is mounted yet.\n');
    else {
      response.setHeader('Content-Type', CONTENT_TYPE);
      response.end(this.#text());
    }
  }
}

function end(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end(text);
}

const FAILURES: Readonly<Record<string, readonly [why: string, remedy: string]>> = {
  EADDRINUSE: ['another program has that address', 'Name another one with --metrics.'],
  EADDRNOTAVAIL: ['this machine does not have that address', 'Name one of its own, or the port alone.'],
  EACCES: [
    'this user may not have that address',
    'Name a port above 1023, or a socket in a folder of your own.',
  ],
  ENOENT: ['its folder does not exist', 'Name a socket in a folder that exists.'],
};

function cannotListen(address: EndpointAddress, code: string): UserError {
  const [why, remedy] = FAILURES[isInNoFolder(address, code) ? 'ENOENT' : code] ?? [
    code,
    'Name another address with --metrics.',
  ];
  return new UserError(`The metrics cannot be served on ${endpointText(address)}: ${why}.`, { remedy });
}

/** Node has one code for a folder that is missing and one that this user may not write to. */
function isInNoFolder(address: EndpointAddress, code: string): boolean {
  return code === 'EACCES' && 'socket' in address && !existsSync(dirname(address.socket));
}

/** A process that was killed leaves its socket, on which nobody listens. Anything else with that name stays. */
async function removeLeftSocket(address: EndpointAddress): Promise<void> {
  if (!('socket' in address)) return;
  const { socket } = address;
  try {
    if (!lstatSync(socket).isSocket()) return;
  } catch {
    return;
  }
  const isLeft = await new Promise<boolean>((resolve) => {
    const trial = connect(socket);
    trial.on('connect', () => {
      trial.destroy();
      resolve(false);
    });
    trial.on('error', (error) => resolve(errorCode(error) === 'ECONNREFUSED'));
  });
  if (isLeft) rmSync(socket, { force: true });
}
