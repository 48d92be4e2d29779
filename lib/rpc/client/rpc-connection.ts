/**
 * One connection with a server, which has one transport after another: when it opens a new one, which calls it sends
 * again and when, and what it does about replies and about silence. OutstandingCalls owns which call waits for which
 * XID and which one is sent next; Outbox owns the writing to the transport.
 *
 * Ordering: calls are sent in the order in which they were made, and after a reconnection again in that order.
 */
import type { Clock, Timer } from '../../base/clock.js';
import {
  RpcCancelledError,
  RpcClosedError,
  RpcConnectError,
  type RpcError,
  RpcGarbageError,
  RpcTimeoutError,
} from '../rpc-errors.js';
import type { OpenTransport, Transport, TransportListener } from '../transport/transport.js';
import { MessageType } from '../wire/message.js';
import type { Counters } from './call-counters.js';
import { CongestionWindow } from './congestion-window.js';
import { Outbox } from './outbox.js';
import { fixedWindow, OutstandingCalls } from './outstanding-calls.js';
import type { PendingCall } from './pending-call.js';
import type { RetransmissionPolicy } from './retransmission.js';
import type { UserLog } from './user-log.js';

/** A reply is XID and message type at least. */
const LEAST_REPLY = 8;

export interface RpcConnectionOptions {
  /** For messages: "server port 2049". */
  readonly server: string;
  readonly host: string;
  readonly port: number;
  /** False for UDP: messages get lost, and garbage does not end the socket. */
  readonly reliable: boolean;
  readonly policy: RetransmissionPolicy;
  /** Calls on the wire at a time. Over UDP a congestion window allows fewer. */
  readonly maxOutstanding: number;
  readonly open: OpenTransport;
  readonly resolvePort: (() => Promise<number>) | undefined;
  readonly clock: Clock;
  /** 0 <= random() < 1, to spread reconnections. */
  readonly random: () => number;
  readonly counters: Counters;
  readonly log: UserLog;
}

type State = 'idle' | 'connecting' | 'waiting' | 'connected' | 'closed';

export class RpcConnection {
  readonly #options: RpcConnectionOptions;
  #state: State = 'idle';
  #transport: Transport | undefined;
  #port: number;
  #localPort: number | undefined;
  #everConnected = false;
  /** How many transports have ended since the last reply: the exponent of the back-off. */
  #failures = 0;
  /** When the last good reply came. */
  #heardAt = Number.NEGATIVE_INFINITY;
  /** The last thing that arrived and was not a reply. */
  #lastGarbage: RpcGarbageError | undefined;
  #garbageAt = Number.NEGATIVE_INFINITY;
  #backOff: Timer | undefined;
  readonly #calls: OutstandingCalls;
  /** Undefined for a reliable transport. */
  readonly #congestion: CongestionWindow | undefined;
  readonly #outbox: Outbox;
  #tick: Timer | undefined;
  #openWaiters: { resolve: () => void; reject: (error: RpcError) => void }[] = [];

  constructor(options: RpcConnectionOptions) {
    this.#options = options;
    this.#port = options.port;
    this.#outbox = new Outbox(options.policy, options.clock);
    this.#congestion = options.reliable ? undefined : new CongestionWindow();
    this.#calls = new OutstandingCalls(this.#congestion ?? fixedWindow(options.maxOutstanding));
  }

  /** Whether a call would go out at once, or at least start a connection. */
  get usable(): boolean {
    return this.#state === 'connected' || (this.#state === 'idle' && this.#failures === 0);
  }

  /** Calls without an answer. */
  get outstanding(): number {
    return this.#calls.count;
  }

  /** The source port that the server sees. */
  get localPort(): number | undefined {
    return this.#localPort;
  }

  /** Resolves when connected; rejects when the one attempt fails. */
  open(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#state === 'connected') resolve();
      else if (this.#state === 'closed') reject(this.#closedError());
      else {
        this.#openWaiters.push({ resolve, reject });
        if (this.#state === 'idle') this.#connect();
      }
    });
  }

  /** Takes a call over, and settles it sooner or later. */
  submit(call: PendingCall): void {
    if (this.#state === 'closed') {
      call.fail(this.#closedError());
      return;
    }
    this.#options.policy.begin(call, this.#options.clock.now());
    this.#calls.add(call);
    this.#fillWire();
    this.#tick ??= this.#startTick();
    if (this.#state === 'idle') this.#reconnect(this.#failures);
  }

  /** The caller stops waiting. */
  cancel(call: PendingCall): void {
    if (call.settled) return;
    call.fail(new RpcCancelledError('the call was interrupted'));
    this.#giveUp(call);
  }

  /** Fails everything with `error` and ends the connection for good. */
  close(error: RpcError = this.#closedError()): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#backOff?.cancel();
    this.#tick?.cancel();
    this.#transport?.destroy(error, false);
    this.#transport = undefined;
    this.#outbox.attach(undefined);
    for (const call of this.#calls.takeAll()) call.fail(error);
    this.#settleOpenWaiters(error);
  }

  #closedError(): RpcClosedError {
    return new RpcClosedError(`the connection to ${this.#options.server} was closed`);
  }

  // ---- sending

  #fillWire(): void {
    if (this.#state !== 'connected') return;
    for (let call = this.#calls.next(); call !== undefined; call = this.#calls.next()) {
      this.#outbox.add(call);
    }
  }

  // ---- receiving

  #received(message: Buffer): void {
    const { counters } = this.#options;
    const xid = message.length >= LEAST_REPLY ? message.readInt32BE(0) : 0;
    if (message.length < LEAST_REPLY || message.readInt32BE(4) !== MessageType.REPLY) {
      this.#garbage(`a message of ${message.length} bytes that is no reply`);
      return;
    }
    const call = this.#calls.of(xid);
    if (call === undefined) {
      if (this.#calls.isLate(xid)) counters.lateReplies += 1;
      else counters.badXids += 1;
      return;
    }
    const nonsense = call.reply(message);
    if (nonsense?.inHeader) {
      if (call.settled) this.#answered(call);
      this.#garbage('a reply without a proper header');
      return;
    }
    if (nonsense !== undefined) this.#noteGarbage(nonsense.error);
    else this.#options.log.replied();
    this.#failures = 0;
    this.#heardAt = this.#options.clock.now();
    const { counters: procedure } = call;
    procedure.replies += 1;
    procedure.bytesReceived += message.length;
    const rtt = this.#heardAt - call.sentAt;
    procedure.rtt += rtt;
    const execution = this.#heardAt - call.madeAt;
    procedure.execution += execution;
    procedure.latencies.add(rtt);
    procedure.executions.add(execution);
    this.#answered(call);
  }

  #answered(call: PendingCall): void {
    this.#calls.answered(call);
    this.#outbox.delete(call);
    this.#fillWire();
  }

  #garbage(what: string): void {
    const { reliable, server } = this.#options;
    const ended = reliable ? '; the connection was ended' : '';
    const error = new RpcGarbageError(`${server} sent ${what}${ended}`);
    if (reliable) this.#transport?.destroy(error, true);
    else this.#noteGarbage(error);
  }

  /** Counts and reports something that is not a reply, and remembers it for the error of calls that time out. */
  #noteGarbage(error: RpcGarbageError): void {
    this.#options.counters.garbage += 1;
    this.#options.log.nonsense(error.message);
    this.#lastGarbage = error;
    this.#garbageAt = this.#options.clock.now();
  }

  // ---- giving up

  /** Removes a call that was settled without a reply. */
  #giveUp(call: PendingCall): void {
    this.#calls.giveUp(call);
    this.#outbox.delete(call);
    const halfSent = this.#outbox.holds(call) && call.message.length > 1;
    this.#fillWire();
    // The caller may now reuse the data, to which the socket still refers. End the connection before it sends other
    // bytes.
    if (halfSent && this.#options.reliable) {
      this.#transport?.destroy(new RpcCancelledError('a call was interrupted while it was being sent'), true);
    }
  }

  // ---- connecting

  readonly #listener: TransportListener = {
    ready: () => this.#onReady(),
    disconnected: (error) => this.#onDisconnected(error),
    message: (message) => this.#received(message),
    writable: () => this.#outbox.writable(),
  };

  #connect(): void {
    this.#state = 'connecting';
    const { resolvePort } = this.#options;
    if (resolvePort === undefined || (!this.#everConnected && this.#failures === 0)) {
      this.#openTransport();
      return;
    }
    // The server may have come back on another port. If that cannot be found out, try the port that we know.
    resolvePort()
      .then(
        (port) => {
          this.#port = port;
        },
        () => {},
      )
      .then(() => {
        if (this.#state === 'connecting') this.#openTransport();
      })
      .catch((error: unknown) => this.#onDisconnected(this.#unexpected(error)));
  }

  #unexpected(error: unknown): RpcError {
    const { server, host } = this.#options;
    const reason = error instanceof Error ? error.message : String(error);
    return new RpcConnectError(`cannot connect to ${server}: ${reason}`, 'EIO', host, this.#port, {
      cause: error,
    });
  }

  #openTransport(): void {
    this.#transport = this.#options.open(this.#listener, this.#port, this.#localPort);
  }

  #onReady(): void {
    this.#state = 'connected';
    this.#localPort = this.#transport?.localPort;
    this.#congestion?.limit(Math.min(this.#options.maxOutstanding, this.#transport?.replyRoom ?? 1));
    if (this.#everConnected) this.#options.counters.reconnects += 1;
    this.#everConnected = true;
    this.#outbox.attach(this.#transport);
    this.#calls.sendAllAgain();
    this.#settleOpenWaiters(undefined);
    this.#fillWire();
    this.#outbox.flush();
  }

  #onDisconnected(error: RpcError): void {
    if (this.#state === 'closed') return;
    if (error instanceof RpcGarbageError) this.#noteGarbage(error);
    this.#transport = undefined;
    this.#outbox.attach(undefined);
    const wasConnected = this.#state === 'connected';
    this.#state = 'idle';
    this.#settleOpenWaiters(error);
    // Servers end idle connections. That is not a failure, and the next call connects without delay.
    if (wasConnected && this.#failures === 0 && this.outstanding === 0) return;
    // A connection that worked is made again at once, but only once: the next attempt counts this end as a failure. A
    // UDP socket is replaced at once every time: it has lasted for a major timeout, and without a socket no reply can
    // come.
    const again = this.#options.reliable ? this.#failures : 0;
    const failures = wasConnected ? again : this.#failures + 1;
    this.#failures += 1;
    if (this.outstanding > 0) this.#reconnect(failures);
  }

  #reconnect(failures: number): void {
    const delay = this.#options.policy.reconnectDelay(failures, this.#options.random());
    if (delay === 0) {
      this.#connect();
      return;
    }
    this.#state = 'waiting';
    this.#backOff = this.#options.clock.after(delay, () => {
      if (this.#state !== 'waiting') return;
      this.#state = 'idle';
      if (this.outstanding > 0 || this.#openWaiters.length > 0) this.#connect();
    });
  }

  #settleOpenWaiters(error: RpcError | undefined): void {
    const waiters = this.#openWaiters;
    this.#openWaiters = [];
    for (const { resolve, reject } of waiters) {
      if (error === undefined) resolve();
      else reject(error);
    }
  }

  // ---- time

  #startTick(): Timer {
    return this.#options.clock.after(this.#options.policy.tick, () => {
      this.#tick = undefined;
      this.#checkDeadlines(this.#options.clock.now());
      if (this.outstanding > 0 && this.#state !== 'closed') this.#tick ??= this.#startTick();
    });
  }

  /**
   * Checks all outstanding calls. A pass costs more than with a heap; a call, of which there are many more, costs less.
   */
  #checkDeadlines(now: number): void {
    const { policy, reliable, counters, host, log } = this.#options;
    const lost: PendingCall[] = [];
    let broken = false;
    for (const call of this.#calls.due(now)) {
      if (now >= call.majorAt) {
        counters.majorTimeouts += 1;
        // Over UDP one call may be lost while others are answered. The server is then still at this port.
        const deaf = reliable || this.#heardAt <= call.lastSentAt;
        const sent = call.transmissions > 0;
        if (sent && now - call.lastSentAt >= policy.timeo && deaf) broken = true;
        if (policy.soft) {
          this.#timeOut(call);
          continue;
        }
        policy.restart(call, now);
        // A call that only waits for its turn to be sent does not show that the server is silent.
        const asked = sent && (deaf || !this.#calls.waits(call));
        if (this.#state !== 'connected' || asked) log.notResponding();
      }
      const onWire = call.transmissions > 0 && this.#state === 'connected' && !this.#calls.waits(call);
      if (!reliable && onWire && now >= call.resendAt) {
        policy.backOff(call, now);
        lost.push(call);
      }
    }
    this.#calls.lost(lost);
    // Also over UDP: no error shows that a server came back on another port, and only #connect asks for the port.
    if (broken && this.#state === 'connected') {
      this.#transport?.destroy(
        new RpcConnectError(`${this.#options.server} does not answer`, 'ETIMEDOUT', host, this.#port),
        true,
      );
      return;
    }
    this.#fillWire();
    this.#outbox.flush();
  }

  #timeOut(call: PendingCall): void {
    const { policy, server } = this.#options;
    const seconds = Math.round((this.#options.clock.now() - call.madeAt) / 100) / 10;
    // If only nonsense came since the call, say so: the user would otherwise search for a firewall.
    const instead = this.#garbageAt >= Math.max(call.madeAt, this.#heardAt);
    const cause = instead ? this.#lastGarbage : undefined;
    const why = cause === undefined ? '' : `: ${cause.message}`;
    const error = new RpcTimeoutError(
      `no answer from ${server} within ${seconds} s${why}`,
      policy.softerr,
      cause && { cause },
    );
    call.fail(error);
    this.#giveUp(call);
  }
}
