/**
 * The gRPC server of the driver: the socket, and that each call is answered in its caller's time, with the code and the words
 * of what failed. Requests are never logged: they may hold secrets.
 */
import { resolve } from 'node:path';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { LogSink } from '../../base/log.js';
import { UserError } from '../../base/user-error.js';
import { textOf } from '../../volume-parts/error-text.js';
import { prepareSocket } from '../../volume-parts/stale-socket.js';
import { Code, CsiError, codeOfFailure } from './csi-error.js';
import { csiInterface, fullName, type ServiceName } from './csi-interface.js';

/** The kubelet waits two minutes for a call. */
const MOST_MS = 110_000;
/** An answer needs this time to arrive before the caller gives up. */
const MARGIN_MS = 300;
/** Calls that are at work when the driver is told to end have this time. */
const LAST_MS = 5_000;

/** A call: its request, and a signal that tells when nobody waits for the answer any more. */
export type CsiCall = (request: unknown, signal: AbortSignal) => Promise<object>;
export type CsiCalls = Readonly<Record<string, CsiCall>>;

/** A call whose requests have this form: the interface has decoded them. */
export function csiCall<Request>(
  work: (request: Request, signal: AbortSignal) => Promise<object> | object,
): CsiCall {
  return async (request, signal) => work(request as Request, signal);
}

/** The path that an endpoint names. @throws UserError for what is no unix socket */
export function socketOf(endpoint: string): string {
  const path =
    /^unix:(?:\/\/)?(.+)$/.exec(endpoint)?.[1] ?? (endpoint.startsWith('/') ? endpoint : undefined);
  if (path !== undefined) return resolve(path);
  throw new UserError(`--endpoint=${endpoint} is no unix socket.`, {
    remedy: 'Write --endpoint=unix:///csi/csi.sock.',
  });
}

/**
 * Listens on the socket `path`. Resolves with a function that ends the server in good order.
 * @throws UserError if it cannot
 */
export async function serveCsi(
  path: string,
  services: ReadonlyMap<ServiceName, CsiCalls>,
  tell: LogSink,
): Promise<() => Promise<void>> {
  await prepareSocket(path, '--endpoint');
  const definitions = csiInterface();
  const server = new Server();
  for (const [name, calls] of services)
    server.addService(definitions[fullName(name)] as ServiceDefinition, implementation(calls, tell));
  // Nobody but this user may connect, whatever umask it has. The socket is made before the call back.
  const umask = process.umask(0o177);
  try {
    await new Promise<void>((done, reject) => {
      server.bindAsync(`unix://${path}`, ServerCredentials.createInsecure(), (error) =>
        error === null ? done() : reject(error),
      );
    });
  } catch (error) {
    throw new UserError(
      `The socket ${path} cannot be made: ${error instanceof Error ? error.message : String(error)}.`,
      { remedy: 'Name another one with --endpoint, in a folder that exists.', cause: error },
    );
  } finally {
    process.umask(umask);
  }
  return () => ended(server);
}

function ended(server: Server): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(() => server.forceShutdown(), LAST_MS);
    server.tryShutdown(() => {
      clearTimeout(timer);
      done();
    });
  });
}

function implementation(calls: CsiCalls, tell: LogSink): UntypedServiceImplementation {
  return Object.fromEntries(
    Object.entries(calls).map(([name, call]) => [
      name,
      (unary: ServerUnaryCall<unknown, object>, answer: sendUnaryData<object>) => {
        handle(call, unary, (error) =>
          tell('warn', `${name}, when nobody waited any more: ${textOf(error)}`),
        ).then(
          (response) => answer(null, response),
          (error: unknown) => {
            const code = codeOfFailure(error);
            const details = textOf(error);
            tell(code === 'INTERNAL' ? 'error' : 'warn', `${name}: ${code}: ${details}`);
            answer({ code: Code[code], details });
          },
        );
      },
    ]),
  );
}

/** Carries out a call. If its time is over first, the caller hears so, and the call goes on to its end by itself. */
async function handle(
  call: CsiCall,
  unary: ServerUnaryCall<unknown, object>,
  failedLater: (error: unknown) => void,
): Promise<object> {
  const control = new AbortController();
  const timeMs = Math.max(0, Math.min(Number(unary.getDeadline()) - Date.now() - MARGIN_MS, MOST_MS));
  const work = call(unary.request, control.signal);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new CsiError('DEADLINE_EXCEEDED', 'This takes longer than the caller waits.', {
          remedy: 'The next attempt goes on with what this one has done.',
        }),
      );
      control.abort();
      work.catch(failedLater);
    }, timeMs);
  });
  unary.on('cancelled', () => control.abort());
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
