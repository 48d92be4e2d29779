/** The interface between an RPC connection and its present socket: one TCP connection or one UDP socket. */
import type { Clock } from '../../base/clock.js';
import type { RpcError } from '../rpc-errors.js';

/** Told what happens on a {@link Transport}; nothing after disconnected(). */
export interface TransportListener {
  /** The transport is open, and takes calls from now on. */
  ready(): void;
  /** The transport is of no use any more: it never became ready, or it broke, or destroy() was called. */
  disconnected(error: RpcError): void;
  /** One message, record mark or datagram framing removed. Slices of it stay valid as long as they are held. */
  message(message: Buffer): void;
  /** Everything sent before has gone to the kernel; said after each send() that returned false. */
  writable(): void;
}

/** The pieces of one message; the first begins with four bytes reserved for the record mark. */
export type Message = readonly Uint8Array[];

export interface Transport {
  /** The port that the server sees us at, once ready. */
  readonly localPort: number | undefined;
  /** How many long replies can come at once, when ready, without one being lost. */
  readonly replyRoom: number;
  /**
   * Sends messages in order, without copying large pieces: these must stay unchanged until they have gone to the
   * kernel, which is so at once where this returns true, and when writable() is called where it returns false.
   */
  send(messages: readonly Message[]): boolean;
  /**
   * Ends the transport; disconnected(error) is said before this returns. `abrupt`: with a reset, which tells the
   * server at once and leaves the source port free to be used again.
   */
  destroy(error: RpcError, abrupt: boolean): void;
}

/** The options that every transport needs to open. */
export interface OpeningOptions {
  /** Name or address. A name is looked up for every transport. */
  readonly host: string;
  readonly port: number;
  readonly family: 4 | 6 | undefined;
  /** Tried first: servers know a client that comes back by its address and port (duplicate request cache). */
  readonly localPort: number | undefined;
  /** Try ports 1023 down to 665, for servers that export `secure`; an ordinary port where none can be had. */
  readonly resvport: boolean;
  /** Milliseconds until the transport must be ready. */
  readonly connectTimeout: number;
  readonly clock: Clock;
  readonly log: (message: string) => void;
}

/** Opens a transport to `port`, from `localPort` if that can be had. The listener hears nothing before it returns. */
export type OpenTransport = (
  listener: TransportListener,
  port: number,
  localPort: number | undefined,
) => Transport;
