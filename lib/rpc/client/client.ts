/**
 * The RPC client that the typed clients call through: numbers the calls, spreads them over its connections
 * (nconnect), and says what a user should know of the server's silence.
 */
import { randomInt } from 'node:crypto';
import dgram from 'node:dgram';
import net from 'node:net';
import { type Clock, systemClock } from '../../base/clock.js';
import { XdrWriter } from '../../xdr/xdr-writer.js';
import { RpcCancelledError, RpcTooLargeError } from '../rpc-errors.js';
import { messageLength, sealRecord } from '../transport/socket-writer.js';
import { TcpTransport } from '../transport/tcp-transport.js';
import type { OpenTransport } from '../transport/transport.js';
import { MAX_DATAGRAM, UdpTransport } from '../transport/udp-transport.js';
import { encodeCallHeader } from '../wire/message.js';
import type { Procedure } from '../wire/procedure.js';
import { RECORD_MARK_BYTES } from '../wire/record-mark.js';
import { RecordPool } from '../wire/record-pool.js';
import { type ClientCounters, Counters, type ProcedureCounters } from './call-counters.js';
import { TypedCall } from './pending-call.js';
import { type Recovery, RetransmissionPolicy } from './retransmission.js';
import type { CallOptions, RpcCaller } from './rpc-caller.js';
import { RpcConnection } from './rpc-connection.js';
import { type Trace, traceCall } from './trace.js';
import { UserLog } from './user-log.js';

/** nfs(5): timeo is 60 s over TCP and 1.1 s over UDP; retrans is 2 and 3. */
const DEFAULT_TIMES = { tcp: { timeo: 600, retrans: 2 }, udp: { timeo: 11, retrans: 3 } } as const;
const DEFAULT_CONNECT_TIMEOUT = 10_000;
const DEFAULT_MAX_OUTSTANDING = 128;
/** A READ of 1 MiB with its header, and room for servers that answer READDIRPLUS a little long. */
const DEFAULT_MAX_RECORD = 2 * 1024 * 1024;
/** Room for the header, a credential with 16 groups, and the arguments of most procedures. */
const CALL_BYTES = 384;

export interface RpcClientOptions {
  readonly host: string;
  readonly port: number;
  readonly protocol?: 'tcp' | 'udp' | undefined;
  /** Which addresses of `host` to use; both by default. */
  readonly family?: 4 | 6 | undefined;
  /** Tenths of a second, nfs(5). */
  readonly timeo?: number | undefined;
  /** nfs(5). */
  readonly retrans?: number | undefined;
  /** What becomes of a call after the major timeout; `hard` by default. */
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
  /** Asked before every attempt to connect but the first: the server may have moved to another port. */
  readonly resolvePort?: (() => Promise<number>) | undefined;
  /** One line for the user, at most a few per outage. */
  readonly log?: ((message: string) => void) | undefined;
  /** Gets a line for every call and every reply; without it nothing is traced, at no cost. */
  readonly trace?: Trace | undefined;
  readonly clock?: Clock | undefined;
  /** 0 <= random() < 1: back-off jitter and the first XID. */
  readonly random?: (() => number) | undefined;
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
    this.#log = new UserLog(host, clock, options.log ?? (() => {}));
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

  /** A client with one connection made: throws RpcConnectError where that fails, rather than try for ever. */
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
        new UdpTransport(listener, { ...common, port, localPort, createSocket });
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
      });
  }

  /** See RpcCaller. What encodeArguments throws comes out as it is. */
  call<Arguments, Result>(
    procedure: Procedure<Arguments, Result>,
    args: Arguments,
    options: CallOptions,
  ): Promise<Result> {
    return new Promise((resolve, reject) => {
      const { cancellation } = options;
      if (cancellation?.cancelled) {
        reject(new RpcCancelledError('the call was interrupted'));
        return;
      }
      const xid = this.#xid;
      this.#xid = (xid + 1) | 0;
      const writer = new XdrWriter(CALL_BYTES, RECORD_MARK_BYTES);
      encodeCallHeader(writer, xid, procedure.program, procedure.number, options.credential);
      procedure.encodeArguments(writer, args);
      const message = writer.finish();
      sealRecord(message);
      const counters = this.#counters.of(procedure);
      counters.calls += 1;
      let settle: (result: Result) => void = resolve;
      let refuse: (error: Error) => void = reject;
      if (this.#trace !== undefined) {
        const bytes = messageLength(message);
        const traced = traceCall(this.#trace, this.#clock, procedure, xid, bytes, { resolve, reject });
        settle = traced.resolve;
        refuse = traced.reject;
      }
      const call = new TypedCall(
        xid,
        message,
        counters,
        options.onRetransmit,
        procedure,
        this.#server,
        settle,
        refuse,
      );
      if (this.#maxMessage !== Number.POSITIVE_INFINITY && messageLength(message) > this.#maxMessage) {
        call.fail(
          new RpcTooLargeError(
            `${call.what}: ${messageLength(message)} bytes do not fit a datagram; use TCP`,
          ),
        );
        return;
      }
      const connection = this.#choose();
      connection.submit(call);
      if (cancellation !== undefined) cancellation.onCancel(() => connection.cancel(call));
    });
  }

  recycle(data: Uint8Array): void {
    this.#records.give(data);
  }

  /** Fails outstanding calls with RpcClosedError and ends the connections. */
  close(): void {
    for (const connection of this.#connections) connection.close();
  }

  get counters(): Readonly<ClientCounters> {
    return this.#counters;
  }

  /** Counters of each procedure that was called. */
  procedureCounters(): readonly Readonly<ProcedureCounters>[] {
    return this.#counters.procedures();
  }

  /** Calls without an answer. */
  get outstanding(): number {
    return this.#connections.reduce((sum, connection) => sum + connection.outstanding, 0);
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
    // A connection that is down is passed over while there is one that is not.
    for (let tried = 1; tried < count && !chosen.usable; tried++) {
      const other = connections[(this.#next + tried - 1) % count] as RpcConnection;
      if (other.usable) chosen = other;
    }
    return chosen;
  }
}

function requireInteger(name: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`${name} is ${value}: it must be an integer from ${least} to ${most}`);
  }
}
