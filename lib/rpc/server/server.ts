/**
 * The server half of RPC: which programs there are, where it listens, over TCP and UDP, and who is connected. See
 * CallExecutor for what becomes of a call.
 */
import net, { type AddressInfo } from 'node:net';
import { type Clock, systemClock, type Timer } from '../../base/clock.js';
import { resetSocket } from '../transport/reset-socket.js';
import { AcceptStat, type CallBody, type ReplyFailure } from '../wire/message.js';
import { nullProcedure, type Program } from '../wire/procedure.js';
import type { CallOrigin } from './call-executor.js';
import { type ConnectionLimits, DEFAULT_LIMITS, isOverdue, mostDispensable } from './connection-limits.js';
import { DatagramListener } from './datagram-listener.js';
import { DuplicateRequestCache } from './duplicate-request-cache.js';
import { ServerConnection, type ServerContext } from './server-connection.js';
import { handle, type ObservedCall, type ServerHooks, type ServerProcedure } from './server-procedure.js';

/** A WRITE of 1 MiB with its header, and some room. */
const DEFAULT_MAX_RECORD = 1024 * 1024 + 64 * 1024;
const DEFAULT_MAX_OUTSTANDING = 64;
const DEFAULT_MAX_CONNECTIONS = 512;
/** Milliseconds that close() waits for calls being carried out. */
const DEFAULT_GRACE = 5000;

export interface RpcServerOptions {
  /** Bytes of the longest call accepted; a longer one ends the connection. */
  readonly maxRecord?: number | undefined;
  /** Calls carried out at a time per connection; then we stop reading from it. */
  readonly maxOutstanding?: number | undefined;
  /**
   * When one more comes, the connection that matters least is ended for it. If all are busy, the new one is refused.
   */
  readonly maxConnections?: number | undefined;
  /**
   * Whether to hear a peer at all, by its address (an IPv4 address without a prefix of IPv6). The connections of others are
   * ended and their datagrams dropped, before anything is read. By default everybody is heard.
   */
  readonly admits?: ((address: string) => boolean) | undefined;
  /** How long a connection may use resources without bringing calls. */
  readonly limits?: Partial<ConnectionLimits> | undefined;
  readonly clock?: Clock | undefined;
  /** Replies kept for calls that must not be carried out twice. */
  readonly duplicateRequests?: number | undefined;
  readonly hooks?: ServerHooks | undefined;
  /** Called for each handler that throws. The call is answered with SYSTEM_ERR. */
  readonly onHandlerError?: ((call: ObservedCall, error: unknown) => void) | undefined;
}

export interface ServerCounters {
  /** Calls taken off the wire, those answered with an error included. */
  calls: number;
  /** Connections ended because of what they sent. */
  garbage: number;
}

export class RpcServer {
  /** Faults for tests; may be exchanged at any time. */
  hooks: ServerHooks;
  readonly counters: ServerCounters = { calls: 0, garbage: 0 };
  /** Connections that came, those refused included. */
  accepted = 0;
  readonly #options: RpcServerOptions;
  /** Procedures by program, version and number. */
  readonly #programs = new Map<number, Map<number, Map<number, ServerProcedure>>>();
  readonly #listeners: net.Server[] = [];
  readonly #datagramListeners: DatagramListener[] = [];
  readonly #connections = new Set<ServerConnection>();
  readonly #cache: DuplicateRequestCache<CallOrigin>;
  readonly #context: ServerContext;
  readonly #limits: ConnectionLimits;
  readonly #clock: Clock;
  /** Runs while there are connections. */
  #sweep: Timer | undefined;
  #whenEmpty: (() => void) | undefined;

  constructor(options: RpcServerOptions = {}) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#clock = options.clock ?? systemClock;
    this.hooks = options.hooks ?? {};
    this.#cache = new DuplicateRequestCache(options.duplicateRequests);
    const currentHooks = (): ServerHooks => this.hooks;
    this.#context = {
      maxRecord: options.maxRecord ?? DEFAULT_MAX_RECORD,
      maxOutstanding: options.maxOutstanding ?? DEFAULT_MAX_OUTSTANDING,
      cache: this.#cache,
      counters: this.counters,
      get hooks() {
        return currentHooks();
      },
      find: (call) => this.#find(call),
      onHandlerError: (call, error) => options.onHandlerError?.(call, error),
      onClosed: (connection) => {
        this.#connections.delete(connection);
        if (this.#connections.size > 0) return;
        this.#sweep?.cancel();
        this.#sweep = undefined;
        this.#whenEmpty?.();
      },
      now: () => this.#clock.now(),
      admits: (address) => options.admits?.(withoutMapping(address)) ?? true,
    };
  }

  /** Offers a program in one version. NULL comes by itself. Throws for a procedure of another program. */
  register(program: Program, procedures: readonly ServerProcedure[]): void {
    const table = new Map<number, ServerProcedure>();
    table.set(
      0,
      handle(nullProcedure(program), () => undefined),
    );
    for (const procedure of procedures) {
      if (procedure.program.number !== program.number || procedure.program.version !== program.version) {
        throw new Error(
          `procedure ${procedure.name} does not belong to ${program.name} version ${program.version}`,
        );
      }
      table.set(procedure.number, procedure);
    }
    const versions = this.#programs.get(program.number) ?? new Map<number, Map<number, ServerProcedure>>();
    versions.set(program.version, table);
    this.#programs.set(program.number, versions);
  }

  /** Starts listening (port 0: any free port), once per call. Rejects with the system's error. */
  listen(address: { readonly host: string; readonly port: number }): Promise<AddressInfo> {
    const listener = net.createServer({ noDelay: true, keepAlive: true }, (socket) => {
      this.#admit(socket);
    });
    return new Promise((resolve, reject) => {
      listener.once('error', reject);
      listener.listen(address.port, address.host, () => {
        listener.off('error', reject);
        // Later errors concern a single accept (for lack of descriptors, for example): that client tries again.
        listener.on('error', () => {});
        this.#listeners.push(listener);
        resolve(listener.address() as AddressInfo);
      });
    });
  }

  /** As {@link listen}, for calls over UDP: at an IP address, and in one datagram each. */
  async listenForDatagrams(address: { readonly host: string; readonly port: number }): Promise<AddressInfo> {
    const listener = await DatagramListener.open(address, this.#context);
    this.#datagramListeners.push(listener);
    return listener.address;
  }

  #admit(socket: net.Socket): void {
    this.accepted += 1;
    if (!this.#context.admits(socket.remoteAddress ?? '')) {
      resetSocket(socket);
      return;
    }
    const open = [...this.#connections].filter((connection) => !connection.closed);
    if (open.length >= (this.#options.maxConnections ?? DEFAULT_MAX_CONNECTIONS)) {
      const victim = mostDispensable(open);
      if (victim === undefined) {
        resetSocket(socket);
        return;
      }
      victim.destroy();
    }
    this.#connections.add(new ServerConnection(socket, this.#context));
    this.#sweep ??= this.#startSweep();
  }

  /** Ends connections that have exceeded a limit. It runs every tenth of the shortest limit, so some end a bit late. */
  #startSweep(): Timer {
    const interval = Math.min(...Object.values(this.#limits)) / 10;
    return this.#clock.after(interval, () => {
      const now = this.#clock.now();
      for (const connection of [...this.#connections]) {
        if (!connection.closed && isOverdue(connection.state, this.#limits, now)) connection.destroy();
      }
      this.#sweep = this.#connections.size > 0 ? this.#startSweep() : undefined;
    });
  }

  /** Connections at this moment. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Calls that were found in the duplicate request cache. */
  get duplicates(): number {
    return this.#cache.hits;
  }

  /** Resets every connection, as a crash would; goes on listening. */
  disconnectAll(): void {
    for (const connection of [...this.#connections]) connection.destroy();
  }

  /**
   * Takes no more calls over TCP, answers those being carried out, and ends: after `grace` milliseconds in any case. Calls
   * over UDP that are being carried out get no answer.
   */
  async close(grace = DEFAULT_GRACE): Promise<void> {
    const listeners = this.#listeners.splice(0);
    const datagramListeners = this.#datagramListeners.splice(0);
    const closed = listeners.map(
      (listener) => new Promise<void>((resolve) => listener.close(() => resolve())),
    );
    if (this.#connections.size > 0) {
      const empty = new Promise<void>((resolve) => {
        this.#whenEmpty = resolve;
      });
      if (grace > 0) for (const connection of [...this.#connections]) connection.drain();
      const timer = setTimeout(() => this.disconnectAll(), grace);
      await empty;
      clearTimeout(timer);
      this.#whenEmpty = undefined;
    }
    await Promise.all([...closed, ...datagramListeners.map((listener) => listener.close())]);
  }

  #find(call: CallBody): ServerProcedure | ReplyFailure {
    const versions = this.#programs.get(call.program);
    if (versions === undefined) return unaccepted(AcceptStat.PROG_UNAVAIL);
    const procedures = versions.get(call.version);
    if (procedures === undefined) {
      const offered = [...versions.keys()];
      return {
        ...unaccepted(AcceptStat.PROG_MISMATCH),
        low: Math.min(...offered),
        high: Math.max(...offered),
      };
    }
    return procedures.get(call.procedure) ?? unaccepted(AcceptStat.PROC_UNAVAIL);
  }
}

function unaccepted(stat: AcceptStat): ReplyFailure & { kind: 'unaccepted' } {
  return { kind: 'unaccepted', stat, low: 0, high: 0 };
}

/** The IPv4 address that an IPv6 socket shows as ::ffff:192.0.2.1; other addresses as they are. */
function withoutMapping(address: string): string {
  return /^::ffff:[\d.]+$/.test(address) ? address.slice('::ffff:'.length) : address;
}
