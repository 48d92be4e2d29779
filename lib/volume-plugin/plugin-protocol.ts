/**
 * The volume plugin protocol of docker, which podman speaks too: JSON in, JSON out, over HTTP. Owns what a request has to look
 * like, and that every request gets an answer: `{"Err": text}` with status 500 for whatever fails.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { isRecord } from '../base/json.js';
import { UserError } from '../base/user-error.js';
import { textOf } from '../volume-parts/error-text.js';
import type { EnginePatience, Volume } from './volume.js';
import { isOptions } from './volume-records.js';
import type { Volumes } from './volumes.js';

/** docker: `local` volumes are made on each machine, `global` ones once for a swarm. */
export type Scope = 'local' | 'global';

const MOST_BYTES = 64 * 1024;
/** An engine that waits so long for an answer gets one this much earlier. */
const EARLIER_MS = 1_300;
/** Volumes answer in time. For what nobody has thought of there is so much time more. */
const SPARE_MS = 300;
/** docker waits two minutes for a mount. A server that answers, but slowly, has so long. */
const SLOW_MS = 30_000;
/** In the Accept of docker, and of no other engine. */
const OF_DOCKER = 'application/vnd.docker.plugins.';
const CONTENT_TYPE = 'application/vnd.docker.plugins.v1.2+json';

type Body = Readonly<Record<string, unknown>>;
type Answer = Readonly<Record<string, unknown>>;
type Call = (body: Body, patience: EnginePatience) => Answer | Promise<Answer>;

/** A request that is wrong in itself, with the status of HTTP for it. */
class BadRequest extends UserError {
  constructor(
    readonly httpStatus: number,
    message: string,
  ) {
    super(message);
  }
}

/**
 * A server that answers for these volumes, and does not listen yet. An engine waits for `engineMs` for an answer; docker, which can
 * be told by its requests, waits longer for a mount.
 */
export function pluginServer(volumes: Volumes, scope: Scope, engineMs: number): Server {
  const calls = callsOf(volumes, scope);
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 }, (request, response) => {
    const ms = engineMs - EARLIER_MS;
    const isDocker = request.headers.accept?.includes(OF_DOCKER) === true;
    const patience = { ms, slowMs: isDocker ? Math.max(ms, SLOW_MS) : ms };
    void answer(calls, patience, request, response);
  });
  server.on('clientError', (_error, socket) => {
    if (!socket.writable) return;
    const text = JSON.stringify({ Err: 'This is no request of HTTP.' });
    socket.end(
      `HTTP/1.1 400 Bad Request\r\nContent-Type: ${CONTENT_TYPE}\r\nContent-Length: ${text.length}\r\nConnection: close\r\n\r\n${text}`,
    );
  });
  return server;
}

function callsOf(volumes: Volumes, scope: Scope): ReadonlyMap<string, Call> {
  const of = (body: Body) => volumes.get(text(body, 'Name'));
  return new Map<string, Call>([
    ['/Plugin.Activate', () => ({ Implements: ['VolumeDriver'] })],
    ['/VolumeDriver.Capabilities', () => ({ Capabilities: { Scope: scope } })],
    [
      '/VolumeDriver.Create',
      async (body) => {
        await volumes.create(text(body, 'Name'), optionsIn(body));
        return {};
      },
    ],
    ['/VolumeDriver.Get', (body) => ({ Volume: { ...shown(of(body)), Status: of(body).status } })],
    ['/VolumeDriver.List', () => ({ Volumes: volumes.list().map(shown) })],
    ['/VolumeDriver.Path', (body) => ({ Mountpoint: of(body).path })],
    [
      '/VolumeDriver.Mount',
      async (body, patience) => ({ Mountpoint: await of(body).use(text(body, 'ID'), patience) }),
    ],
    [
      '/VolumeDriver.Unmount',
      async (body) => {
        await of(body).release(text(body, 'ID'));
        return {};
      },
    ],
    [
      '/VolumeDriver.Remove',
      async (body) => {
        await volumes.remove(text(body, 'Name'));
        return {};
      },
    ],
  ]);
}

function shown({ name, path }: Volume): Answer {
  return { Name: name, Mountpoint: path };
}

async function answer(
  calls: ReadonlyMap<string, Call>,
  patience: EnginePatience,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let status = 200;
  let content: Answer;
  try {
    const call = calls.get(request.url ?? '');
    if (call === undefined || request.method !== 'POST')
      throw new BadRequest(404, `${request.method} ${request.url} is no call of a volume plugin.`);
    const body = parsed(await bytesOf(request));
    content = {
      ...(await inTime(Promise.resolve(call(body, patience)), patience.slowMs + SPARE_MS)),
      Err: '',
    };
  } catch (error) {
    status = error instanceof BadRequest ? error.httpStatus : 500;
    content = { Err: textOf(error) };
  }
  // The rest of a request that is too large is not read.
  if (status === 413) response.setHeader('Connection', 'close');
  response.writeHead(status, { 'Content-Type': CONTENT_TYPE });
  response.end(`${JSON.stringify(content)}\n`);
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of request.iterator({ destroyOnReturn: false })) {
    pieces.push(piece as Buffer);
    length += (piece as Buffer).length;
    if (length > MOST_BYTES) throw new BadRequest(413, `A request has at most ${MOST_BYTES} bytes.`);
  }
  return Buffer.concat(pieces);
}

function parsed(bytes: Buffer): Body {
  // docker sends nothing with calls that have no arguments.
  if (bytes.length === 0) return {};
  let body: unknown;
  try {
    body = JSON.parse(bytes.toString());
  } catch {
    throw new BadRequest(400, 'The request is not JSON.');
  }
  if (isRecord(body)) return body;
  throw new BadRequest(400, 'The request is JSON of another kind than an object.');
}

function text(body: Body, name: string): string {
  const value = body[name];
  if (typeof value === 'string' && value !== '') return value;
  throw new BadRequest(400, `The request has no text in ${name}.`);
}

function optionsIn({ Opts: options }: Body): Readonly<Record<string, string>> {
  if (options === undefined || options === null) return {};
  if (isOptions(options)) return options;
  throw new BadRequest(400, 'The request has something else than texts in Opts.');
}

async function inTime<Value>(work: Promise<Value>, ms: number): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new UserError('This takes too long. It goes on by itself.')), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
