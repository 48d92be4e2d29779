/**
 * The metrics of one mount over HTTP, for a scraper: `GET /metrics`. Owns the listening socket, and what a stranger who connects
 * can cost. Everybody who reaches the address may read names of the server and of the export, and counts.
 */
import { existsSync, lstatSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { isIP, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { errorCode, type Logger } from '../../base/log.js';
import { UserError } from '../../base/user-error.js';
import { listenerOn, useOfFolder } from '../reach/socket-place.js';
import { type EndpointAddress, endpointText } from './endpoint-address.js';

export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
/** A newer connection ends the oldest of so many: a scraper gets its answer at once, and is gone. */
const MOST_CONNECTIONS = 16;
/** A connection is for one question, and over after this time, whatever is sent or read on it. */
const CONNECTION_MS = 20_000;
/** A question that comes sooner gets the same text again: the mount's own work waits while one is made. */
const KEPT_MS = 1_000;
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
  #kept: { readonly text: string; readonly until: number } | undefined;
  #hasFailed = false;
  /** The oldest first. */
  readonly #connections = new Set<Socket>();
  #isClosed = false;
  #retry: NodeJS.Timeout | undefined;

  private constructor(address: EndpointAddress, log: Logger) {
    this.#address = address;
    this.#log = log;
  }

  /** Listens. Until {@link serve}, answers that the mount is not there yet. @throws UserError: the address cannot be had */
  static async open(address: EndpointAddress, log: Logger): Promise<MetricsEndpoint> {
    const endpoint = new MetricsEndpoint(address, log);
    const failure = await endpoint.#take();
    if (failure !== undefined) throw failure;
    endpoint.#warnOfOthers();
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
    this.#kept = undefined;
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
    const failure = this.#isClosed ? undefined : await this.#take();
    if (failure === undefined) return;
    if (attempt === TELL_AFTER)
      this.#log.warn(`${failure.message} Nobody can read the metrics of this mount there until it is free.`);
    this.#retry = setTimeout(() => void this.#keepTrying(attempt + 1), AGAIN_MS);
    this.#retry.unref();
  }

  /** Takes the address. Resolves with what failed, and never rejects. */
  async #take(): Promise<UserError | undefined> {
    const address = this.#address;
    try {
      if ('socket' in address) await makeRoom(address.socket);
      const code = await this.#listen();
      return code === undefined ? undefined : cannotListen(address, code);
    } catch (error) {
      return error instanceof UserError ? error : cannotListen(address, errorCode(error));
    }
  }

  #warnOfOthers(): void {
    if (!('socket' in this.#address)) return;
    const folder = dirname(this.#address.socket);
    if (useOfFolder(folder) === 'shared')
      this.#log.warn(
        `Others may change the folder ${folder}, and could answer there in place of this mount.`,
      );
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
    server.maxRequestsPerSocket = 1;
    server.on('connection', (socket) => this.#accept(socket));
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

  #accept(socket: Socket): void {
    this.#connections.add(socket);
    const timer = setTimeout(() => socket.destroy(), CONNECTION_MS);
    timer.unref();
    socket.once('close', () => {
      clearTimeout(timer);
      this.#connections.delete(socket);
    });
    const [oldest] = this.#connections;
    if (this.#connections.size > MOST_CONNECTIONS) oldest?.destroy();
  }

  #answer({ method, url = '', headers }: IncomingMessage, response: ServerResponse): void {
    const [path] = url.split('?');
    response.setHeader('Connection', 'close');
    if (method !== 'GET' && method !== 'HEAD') end(response, 405, 'Only GET is answered here.\n');
    else if (!this.#isMeant(headers.host)) end(response, 421, 'Ask by the address, or as localhost.\n');
    else if (path !== '/metrics') end(response, 404, 'The metrics are at /metrics.\n');
    else if (this.#text === undefined) end(response, 503, 'Nothing is mounted yet.\n');
    else this.#answerWith(this.#text, response);
  }

  /**
   * Whether a question is meant for this address. A page in a browser of this machine may ask in the name of its own server,
   * which it has led to 127.0.0.1 meanwhile (DNS rebinding), and would read the answer.
   */
  #isMeant(host: string | undefined): boolean {
    if (host === undefined || !isLoopback(this.#address)) return true;
    const name = host
      .replace(/:\d*$/, '')
      .replace(/^\[(.*)\]$/, '$1')
      .toLowerCase();
    return name === 'localhost' || isIP(name) !== 0;
  }

  #answerWith(make: () => string, response: ServerResponse): void {
    let text: string;
    try {
      text = this.#textOfNow(make);
    } catch (error) {
      // The mount goes on, whatever it lacks for an answer, such as descriptors.
      if (!this.#hasFailed) this.#log.warn(`The metrics cannot be made (${errorCode(error)}).`);
      this.#hasFailed = true;
      end(response, 500, 'The metrics cannot be made now.\n');
      return;
    }
    this.#hasFailed = false;
    response.setHeader('Content-Type', CONTENT_TYPE);
    response.end(text);
  }

  #textOfNow(make: () => string): string {
    const now = performance.now();
    if (this.#kept === undefined || this.#kept.until < now)
      this.#kept = { text: make(), until: now + KEPT_MS };
    return this.#kept.text;
  }
}

function isLoopback(address: EndpointAddress): boolean {
  return 'host' in address && (address.host === '::1' || address.host.startsWith('127.'));
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

/**
 * A process that was killed leaves its socket, on which nobody listens. Anything else with that name stays.
 * @throws UserError if the folder is another user's, who could have us remove or make files elsewhere
 */
async function makeRoom(socket: string): Promise<void> {
  const folder = dirname(socket);
  if (existsSync(folder) && useOfFolder(folder) === 'foreign')
    throw new UserError(`The metrics cannot be served on ${socket}: its folder is another user's.`, {
      remedy: 'Name a socket in a folder of your own.',
    });
  if (lstatSync(socket, { throwIfNoEntry: false })?.isSocket() !== true) return;
  if ((await listenerOn(socket)) === 'nobody') rmSync(socket, { force: true });
}
