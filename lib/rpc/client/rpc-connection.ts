/**
 * One connection with a server, through all the transports that it has in its life: when there is a new one, what is
 * sent again when, and what comes of replies and of silence. Who waits for which XID, and what goes out next, is the
 * business of OutstandingCalls; how it gets to the transport, that of Outbox.
 *
 * Ordering: calls go out in the order made, and after a reconnection again in that order.
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
  /** False for UDP: messages get lost, and garbage is no reason to give the socket up. */
  readonly reliable: boolean;
  readonly policy: RetransmissionPolicy;
  /** Calls on the wire at a time; over UDP a congestion window says how many. */
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
  /** Ends of transports since the last reply; the exponent of the back-off. */
  #failures = 0;
  /** When the last good reply came. */
  #heardAt = Number.NEGATIVE_INFINITY;
  /** The last thing that came and was no answer. */
  #lastGarbage: RpcGarbageError | undefined;
  #garbageAt = Number.NEGATIVE_INFINITY;
  #backOff: Timer | undefined;
  readonly #calls: OutstandingCalls;
  /** Of a transport that is not reliable. */
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

  /** Takes a call over: it will be settled, sooner or later. */
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

  /** The caller waits no longer. */
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
    procedure.rtt += this.#heardAt - call.sentAt;
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

  /** Counts and tells what came that is no answer, and remembers it for calls that wait in vain. */
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
    // The caller is free to reuse the data now, and the socket still refers to it: it must not send other bytes.
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
    // The server may have come back on another port. Where nobody tells, the one we know is the best guess.
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
    // Servers end idle connections: that is no failure, and the next call connects without delay.
    if (wasConnected && this.#failures === 0 && this.outstanding === 0) return;
    // A connection that worked is made anew at once, but only once: the next attempt counts this one. A socket for
    // datagrams has lasted for a major timeout, which is pause enough; without one nobody would hear the server.
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

  /** One pass over the outstanding calls: dearer than a heap per pass, cheaper per call. */
  #checkDeadlines(now: number): void {
    const { policy, reliable, counters, host, log } = this.#options;
    const lost: PendingCall[] = [];
    let broken = false;
    for (const call of this.#calls.due(now)) {
      if (now >= call.majorAt) {
        counters.majorTimeouts += 1;
        // Over UDP one call may be lost while others are answered: then the port is the right one.
        const deaf = reliable || this.#heardAt <= call.lastSentAt;
        const sent = call.transmissions > 0;
        if (sent && now - call.lastSentAt >= policy.timeo && deaf) broken = true;
        if (policy.soft) {
          this.#timeOut(call);
          continue;
        }
        policy.restart(call, now);
        // What only waits for its turn, to be sent for the first time or again, says nothing against the server.
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
    // UDP too: no error tells of a server that came back on another port, and only #connect asks where it is.
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
    // Who was answered with nonsense all the time is not to look for a firewall.
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
