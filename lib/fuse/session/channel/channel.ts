/**
 * The interface between a session and the carrier of its messages: the device in production, memory in tests.
 * Owns the interfaces only.
 */

import type { ReplyBuffer } from '../reply.js';
import type { RequestBuffer } from '../request-buffer.js';

/**
 * Why a session is over: its connection was unmounted, was aborted (by the administrator or by us), or failed; or it was
 * detached: another process goes on with the connection.
 */
export type SessionEnd = 'unmounted' | 'aborted' | 'detached' | Error;

/** The receiving side of a {@link Channel}. Neither method throws. */
export interface ChannelHandler {
  /**
   * One whole request of `length` bytes at the start of `message`. True: the handler keeps the buffer and
   * returns it with {@link Channel.release}; false: it is free at once.
   */
  request(message: RequestBuffer, length: number): boolean;
  /** Nothing will come any more. Called once, and not after {@link Channel.close}. */
  ended(end: SessionEnd): void;
}

/**
 * A message of another thread may have to wait for a page or for a directory. The wait for a page ends by itself, and
 * the answer to a write may depend on it. The wait for a directory may depend on the answer to any request: unlink(2)
 * holds the directory and waits for a write to the file to end.
 */
export type ThreadLane = 'pages' | 'entries';

export interface Channel {
  /** Begins to deliver requests of which no one is longer than `maxRequest` bytes. */
  start(handler: ChannelHandler, maxRequest: number): void;
  /** Stops delivery until {@link resume}; one more request may still come. */
  pause(): void;
  resume(): void;
  /**
   * While paused: delivers what waits, up to the first request whose buffer the handler keeps. The kernel hands
   * interrupts out before anything else.
   */
  step(): void;
  /**
   * Ends delivery for good: what the kernel has, it keeps for whoever reads next. Answers can still be written, and the end
   * of the connection is still reported.
   */
  stop(): void;
  /** Takes back a buffer that the handler kept. */
  release(message: RequestBuffer): void;
  /** Writes the first `length` bytes of a reply or notification at once. 0, or the errno. */
  write(reply: ReplyBuffer, length: number): number;
  /** Writes one reply that consists of several pieces, at once. 0, or the errno. */
  writePieces(pieces: readonly Uint8Array[]): number;
  /** Writes one message from another thread, because the kernel may block it. 0, or the errno. */
  writeFromThread(message: Uint8Array, lane: ThreadLane): Promise<number>;
  /** Resolves as soon as all that was given to {@link writeFromThread} is written. */
  flushThreads(): Promise<void>;
  /**
   * Drops what {@link writeFromThread} has not begun to write. Undefined: no thread is writing. Otherwise resolves when
   * all threads have come back; some may wait until requests are answered.
   */
  stopThreads(): Promise<void> | undefined;
  /** Ends delivery and closes the descriptor. That ends the connection if no other process has it. */
  close(): void;
}
