/**
 * The RPC client that the typed clients call through: numbers the calls, spreads them over its connections
 * (nconnect), and says what a user should know of the server's silence.
 */
import { randomInt } from 'node:crypto';
import dgram from 'node:dgram';
import net from 'node:net';
import { type Clock, systemClock } from '../../base/clock.js';
import { RpcCancelledError, RpcClosedError, type RpcError, RpcTooLargeError } from '../rpc-errors.js';
import { messageLength } from '../transport/socket-writer.js';
import { type ConnectionStep, TcpTransport } from '../transport/tcp-transport.js';
import type { OpenTransport } from '../transport/transport.js';
import { MAX_DATAGRAM, UdpTransport } from '../transport/udp-transport.js';
import type { Procedure } from '../wire/procedure.js';
import { RecordPool } from '../wire/record-pool.js';
import { type ClientCounters, Counters, type ProcedureCounts } from './call-counters.js';
import { MOST_CALLS } from './congestion-window.js';
import { type PendingCall, type Settle, TypedCall } from './pending-call.js';
import { type Recovery, RetransmissionPolicy } from './retransmission.js';
import type { CallOptions, Cancellation, RpcCaller } from './rpc-caller.js';
import { RpcConnection } from './rpc-connection.js';
import { type Trace, TracedCall } from './trace.js';
import { UserLog } from './user-log.js';

/** nfs(5): timeo is 60 s over TCP and 1.1 s over UDP; retrans is 2 and 3. */
const DEFAULT_TIMES = { tcp: { timeo: 600, retrans: 2 }, udp: { timeo: 11, retrans: 3 } } as const;
const DEFAULT_CONNECT_TIMEOUT = 10_000;
const DEFAULT_MAX_OUTSTANDING = 128;
/** A READ of 1 MiB with its header, and room for servers that answer READDIRPLUS a little long. */
const DEFAULT_MAX_RECORD = 2 * 1024 * 1024;

export interface RpcClientOptions {
  readonly host: string;
  readonly port: number;
  readonly protocol?: 'tcp' | 'udp' | undefined;
  /** The name of the server in messages: "server HOST" by default. */
  readonly called?: string | undefined;
  /** Which addresses of `host` to use; both by default. */
  readonly family?: 4 | 6 | undefined;
  /** Tenths of a second, nfs(5). */
  readonly timeo?: number | undefined;
  /** nfs(5). */
  readonly retrans?: number | undefined;
  /** The treatment of a call after its major timeout; `hard` by default. */
  readonly recovery?: Recovery | undefined;
  /** TCP connections, 1 to 16; calls take turns. */
  readonly nconnect?: number | undefined;
  /** Try to connect from a source port below 1024. */
  readonly resvport?: boolean | undefined;
  /** Milliseconds for one attempt to connect. */
  readonly connectTimeout?: number | undefined;
  /** Calls on the wire at a time and per connection; more wait their turn. */
  readonly maxOutstanding?: number | undefined;
  /** Bytes of the longest reply accepted. */
  readonly maxRecord?: number | undefined;
  /** Called before each attempt to connect except the first: the server may have moved to another port. */
  readonly resolvePort?: (() => Promise<number>) | undefined;
  /** One line for the user, at most a few per outage. */
  readonly log?: ((message: string) => void) | undefined;
  /** Gets a line for every call and every reply; without it nothing is traced, at no cost. */
  readonly trace?: Trace | undefined;
  readonly clock?: Clock | undefined;
  /** 0 <= random() < 1: back-off jitter and the first XID. */
  readonly random?: (() => number) | undefined;
  /** A step between each TCP connection and its first call; see ConnectionStep. */
  readonly beforeReady?: ConnectionStep | undefined;
  /** Called for each TCP connection that is made, before it carries a call. */
  readonly onConnected?: (() => void) | undefined;
  readonly connectSocket?: ((options: net.TcpNetConnectOpts) => net.Socket) | undefined;
  readonly createDatagramSocket?: ((type: dgram.SocketType) => dgram.Socket) | undefined;
}

export class RpcClient implements RpcCaller {
  readonly #server: string;
  readonly #log: UserLog;
  readonly #trace: Trace | undefined;
  readonly #clock: Clock;
  readonly #counters = new Counters();
  readonly #records = new RecordPool();
  readonly #connections: RpcConnection[] = [];
  /** Ends the wait of each call whose credential is being refreshed. */
  readonly #refreshing = new Set<(error: RpcError) => void>();
  readonly #maxMessage: number;
  #next = 0;
  #xid: number;

  /** Connects with the first call. Throws RangeError for options that make no sense. */
  constructor(options: RpcClientOptions) {
    const { host, port, protocol = 'tcp', nconnect = 1, recovery = 'hard', clock = systemClock } = options;
    const { timeo = DEFAULT_TIMES[protocol].timeo, retrans = DEFAULT_TIMES[protocol].retrans } = options;
    const { maxOutstanding = DEFAULT_MAX_OUTSTANDING } = options;
    requireInteger('port', port, 1, 65535);
    requireInteger('nconnect', nconnect, 1, 16);
    requireInteger('timeo', timeo, 1, 6000);
    requireInteger('retrans', retrans, 0, 100);
    requireInteger('maxOutstanding', maxOutstanding, 1, 65536);
    this.#server = host;
    this.#log = new UserLog(options.called ?? `server ${host}`, clock, options.log ?? (() => {}));
    this.#trace = options.trace;
    this.#clock = clock;
    const random = options.random ?? (() => randomInt(2 ** 32) / 2 ** 32);
    this.#xid = Math.floor(random() * 2 ** 32) | 0;
    this.#maxMessage = protocol === 'udp' ? MAX_DATAGRAM : Number.POSITIVE_INFINITY;
    const policy = new RetransmissionPolicy(protocol, recovery, timeo, retrans);
    const open = this.#opener(options, clock, policy);
    for (let index = 0; index < nconnect; index++) {
      this.#connections.push(
        new RpcConnection({
          server: `${host} port ${port}`,
          host,
          port,
          reliable: protocol === 'tcp',
          policy,
          maxOutstanding,
          open,
          resolvePort: options.resolvePort,
          clock,
          random,
          counters: this.#counters,
          log: this.#log,
        }),
      );
    }
  }

  /** A client with one connection made. Throws RpcConnectError if that fails, and does not try again. */
  static async connect(options: RpcClientOptions): Promise<RpcClient> {
    const client = new RpcClient(options);
    try {
      await client.#connections[0]?.open();
    } catch (error) {
      client.close();
      throw error;
    }
    return client;
  }

  #opener(options: RpcClientOptions, clock: Clock, policy: RetransmissionPolicy): OpenTransport {
    const { host, family, resvport = false, connectTimeout = DEFAULT_CONNECT_TIMEOUT } = options;
    const common = {
      host,
      family,
      resvport,
      clock,
      connectTimeout,
      log: (message: string) => this.#log.once(message),
    };
    if (options.protocol === 'udp') {
      const createSocket = options.createDatagramSocket ?? ((type) => dgram.createSocket(type));
      return (listener, port, localPort) =>
        new UdpTransport(listener, {
          ...common,
          port,
          localPort,
          wantedReplyRoom: MOST_CALLS,
          createSocket,
        });
    }
    const maxRecord = options.maxRecord ?? DEFAULT_MAX_RECORD;
    const connectSocket = options.connectSocket ?? net.connect;
    const keepAlive = policy.timeo;
    const records = this.#records;
    return (listener, port, localPort) =>
      new TcpTransport(listener, {
        ...common,
        port,
        localPort,
        maxRecord,
        records,
        connectSocket,
        keepAlive,
        beforeReady: options.beforeReady,
        onConnected: options.onConnected,
      });
  }

  /** See RpcCaller. Rejects with what encodeArguments throws as it is. */
  call<Arguments, Result>(
    procedure: Procedure<Arguments, Result>,
    args: Arguments,
    options: CallOptions,
  ): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (options.cancellation?.cancelled) {
        reject(cancelledError());
        return;
      }
      const { credential, cancellation } = options;
      const send = (): void =>
        this.#send(this.#encode(procedure, args, options, { resolve, reject }), cancellation);
      const refreshed = credential.operations.refresh(credential);
      if (refreshed === undefined) send();
      else this.#whenRefreshed(refreshed, cancellation, reject, send);
    });
  }

  /** A call with the next XID, encoded and counted. Throws what encodeArguments throws. */
  #encode<Arguments, Result>(
    procedure: Procedure<Arguments, Result>,
    args: Arguments,
    { credential, onRetransmit }: CallOptions,
    settle: Settle<Result>,
  ): TypedCall<Arguments, Result> {
    const xid = this.#xid;
    this.#xid = (xid + 1) | 0;
    const counters = this.#counters.of(procedure);
    const traced = this.#trace && new TracedCall<Result>(this.#trace, this.#clock, procedure, xid, settle);
    const call = new TypedCall({
      xid,
      procedure,
      args,
      credential,
      counters,
      onRetransmit,
      server: this.#server,
      settle: traced ?? settle,
    });
    call.encode();
    counters.calls += 1;
    traced?.begin(messageLength(call.message));
    return call;
  }

  /** Hands a call over to a connection, which settles it sooner or later. */
  #send(call: PendingCall, cancellation: Cancellation | undefined): void {
    if (this.#maxMessage !== Number.POSITIVE_INFINITY) {
      const bytes = messageLength(call.message);
      if (bytes > this.#maxMessage) {
        call.fail(new RpcTooLargeError(`${call.what}: ${bytes} bytes do not fit a datagram; use TCP`));
        return;
      }
    }
    const connection = this.#choose();
    connection.submit(call);
    cancellation?.onCancel(() => connection.cancel(call));
  }

  /**
   * Goes on with `proceed` once the credential is usable. `reject` gets the error where it cannot be had, where the
   * caller stops waiting before, and where the client is closed before.
   */
  #whenRefreshed(
    refreshed: Promise<void>,
    cancellation: Cancellation | undefined,
    reject: (error: unknown) => void,
    proceed: () => void,
  ): void {
    const refreshing = this.#refreshing;
    const fail = (error: unknown): void => {
      if (refreshing.delete(fail)) reject(error);
    };
    refreshing.add(fail);
    cancellation?.onCancel(() => fail(cancelledError()));
    refreshed
      .then(() => {
        if (refreshing.delete(fail)) proceed();
      })
      .catch((error: unknown) => {
        refreshing.delete(fail);
        reject(error);
      });
  }

  recycle(data: Uint8Array): void {
    this.#records.give(data);
  }

  /** Fails outstanding calls with RpcClosedError and ends the connections. */
  close(): void {
    const error = new RpcClosedError(`the client of ${this.#server} was closed`);
    for (const fail of this.#refreshing) fail(error);
    for (const connection of this.#connections) connection.close();
  }

  get counters(): Readonly<ClientCounters> {
    return this.#counters;
  }

  /** Counters of each procedure that was called, as they are now. */
  procedureCounters(): readonly ProcedureCounts[] {
    return this.#counters.procedures();
  }

  /** Calls without an answer. */
  get outstanding(): number {
    return this.#connections.reduce((sum, connection) => sum + connection.outstanding, this.#refreshing.size);
  }

  get unresponsive(): boolean {
    return this.#log.silent;
  }

  #choose(): RpcConnection {
    const connections = this.#connections;
    const count = connections.length;
    let chosen = connections[this.#next] as RpcConnection;
    if (count === 1) return chosen;
    this.#next = (this.#next + 1) % count;
    // Skip a connection that is down, as long as another one is up.
    for (let tried = 1; tried < count && !chosen.usable; tried++) {
      const other = connections[(this.#next + tried - 1) % count] as RpcConnection;
      if (other.usable) chosen = other;
    }
    return chosen;
  }
}

function cancelledError(): RpcCancelledError {
  return new RpcCancelledError('the call was interrupted');
}

function requireInteger(name: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`${name} is ${value}: it must be an integer from ${least} to ${most}`);
  }
}
