/** What a connection needs of the thing that moves its bytes: one TCP connection or one UDP socket. */
import type { RpcError } from '../rpc-errors.js';

/** Told what happens on a {@link Transport}; nothing after disconnected(). */
export interface TransportListener {
  connected(): void;
  /** The transport is of no use any more: it never connected, or it broke, or destroy() was called. */
  disconnected(error: RpcError): void;
  /** One message, record mark or datagram framing removed. Slices of it stay valid as long as they are held. */
  message(message: Buffer): void;
  /** Everything sent before has gone to the kernel; said after each send() that returned false. */
  writable(): void;
}

/** The pieces of one message; the first begins with four bytes reserved for the record mark. */
export type Message = readonly Uint8Array[];

export interface Transport {
  /** The port that the server sees us at, once connected. */
  readonly localPort: number | undefined;
  /** So many long replies can come at once, once connected, without one being lost. */
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

/** Opens a transport to `port`, from `localPort` if that can be had. The listener hears nothing before it returns. */
export type OpenTransport = (
  listener: TransportListener,
  port: number,
  localPort: number | undefined,
) => Transport;
