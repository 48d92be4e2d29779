/**
 * The production channel: a descriptor of /dev/fuse, watched by the event loop (uv_poll through koffi) and read
 * and written by the main thread. No thread stands between the kernel and the file system, so a request costs
 * one wake-up and its answer one write(2).
 */
import { closeSync, openSync, writevSync } from 'node:fs';
import koffi from 'koffi';
import { Errno, errnoName, errnoOf } from '../../contract/errno.js';
import { duplicateOver, PollFlag, pollNow, readInto, writeFrom } from '../../system-calls.js';
import type { ReplyBuffer } from '../reply.js';
import { RequestBuffer } from '../request-buffer.js';
import type { Channel, ChannelHandler, ThreadLane } from './channel.js';
import { ThreadWriter } from './thread-writer.js';
import { Wakefulness } from './wakefulness.js';

/** Requests taken before the event loop gets its turn for the sockets behind the file system. */
const BATCH = 16;
type PollHandle = ReturnType<typeof koffi.node.poll>;

/** Buffers kept for reuse. */
const SPARE_BUFFERS = 8;

export class KernelChannel implements Channel {
  readonly #fd: number;
  readonly #isBorrowed: boolean;
  #handler: ChannelHandler | undefined = undefined;
  #poll: PollHandle | undefined = undefined;
  #maxRequest = 0;
  #current: RequestBuffer | undefined = undefined;
  readonly #spare: RequestBuffer[] = [];
  readonly #wakefulness = new Wakefulness();
  #paused = false;
  #stopped = false;
  #closed = false;
  readonly #threads: Readonly<Record<ThreadLane, ThreadWriter>>;
  #threadsIdle: () => void = nothing;
  #flushed: (() => void)[] = [];

  /** `fd`: /dev/fuse, mounted. It belongs to the channel from now on, unless it `isBorrowed`: closing leaves it open. */
  constructor(fd: number, { isBorrowed = false }: { readonly isBorrowed?: boolean } = {}) {
    this.#fd = fd;
    this.#isBorrowed = isBorrowed;
    const cameBack = (): void => {
      if (!this.#threadsHaveWork) for (const resolve of this.#flushed.splice(0)) resolve();
      if (this.#threadsBusy) return;
      if (this.#closed) closeSync(this.#fd);
      this.#threadsIdle();
    };
    this.#threads = { pages: new ThreadWriter(fd, cameBack), entries: new ThreadWriter(fd, cameBack) };
  }

  start(handler: ChannelHandler, maxRequest: number): void {
    this.#handler = handler;
    this.#maxRequest = maxRequest;
    // Also makes the descriptor non-blocking.
    this.#poll = koffi.node.poll(this.#fd, { readable: true }, this.#readable);
  }

  pause(): void {
    if (this.#closed) return;
    this.#paused = true;
    // Unmount and abort are reported in any case.
    this.#poll?.start({ disconnect: true }, this.#readable);
  }

  resume(): void {
    if (this.#closed || this.#stopped) return;
    this.#paused = false;
    this.#poll?.start({ readable: true }, this.#readable);
  }

  step(): void {
    if (this.#paused && !this.#closed && !this.#stopped) this.#receive(true);
  }

  stop(): void {
    if (this.#closed) return;
    this.#stopped = true;
    this.#paused = true;
    // A read once the connection is over finds no request, only that.
    const ended = (): void => {
      if ((pollNow(this.#fd, 0) & PollFlag.ERR) !== 0) this.#receive(false);
    };
    this.#poll?.start({ disconnect: true }, ended);
  }

  release(message: RequestBuffer): void {
    // A request that another process has handed over came in a buffer of its own length.
    if (message.bytes.length >= this.#maxRequest && this.#spare.length < SPARE_BUFFERS)
      this.#spare.push(message);
  }

  write(reply: ReplyBuffer, length: number): number {
    if (this.#closed) return Errno.ENODEV;
    const count = writeFrom(this.#fd, reply.bytes, length);
    this.#wakefulness.touch();
    return count < 0 ? -count : 0;
  }

  writePieces(pieces: readonly Uint8Array[]): number {
    if (this.#closed) return Errno.ENODEV;
    try {
      writevSync(this.#fd, pieces);
      this.#wakefulness.touch();
      return 0;
    } catch (error) {
      return errnoOf(error);
    }
  }

  writeFromThread(message: Uint8Array, lane: ThreadLane): Promise<number> {
    return this.#closed ? Promise.resolve(Errno.ENODEV) : this.#threads[lane].write(message);
  }

  get #threadsBusy(): boolean {
    return this.#threads.pages.busy || this.#threads.entries.busy;
  }

  get #threadsHaveWork(): boolean {
    return this.#threads.pages.hasWork || this.#threads.entries.hasWork;
  }

  flushThreads(): Promise<void> {
    if (!this.#threadsHaveWork) return Promise.resolve();
    return new Promise((resolve) => this.#flushed.push(resolve));
  }

  #dropThreadWrites(): void {
    this.#threads.pages.drop();
    this.#threads.entries.drop();
  }

  stopThreads(): Promise<void> | undefined {
    this.#dropThreadWrites();
    if (!this.#threadsBusy) return undefined;
    return new Promise((resolve) => {
      this.#threadsIdle = resolve;
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#poll?.close();
    this.#poll = undefined;
    this.#dropThreadWrites();
    if (this.#isBorrowed) return;
    if (!this.#threadsBusy) closeSync(this.#fd);
    else {
      // A thread may still be about to write: its descriptor number must not be given to another file before.
      const nothing = openSync('/dev/null', 'r+');
      duplicateOver(nothing, this.#fd);
      closeSync(nothing);
    }
  }

  readonly #readable = (): void => this.#receive(false);

  #receive(stepping: boolean): void {
    const handler = this.#handler;
    if (handler === undefined) return;
    for (let i = 0; i < BATCH && !this.#closed; i++) {
      if (this.#paused && !stepping && i > 0) break;
      this.#current ??= this.#spare.pop() ?? RequestBuffer.inMemory(this.#maxRequest);
      const message = this.#current;
      const count = readInto(this.#fd, message.bytes, this.#maxRequest);
      if (count > 0) {
        this.#current = undefined;
        if (!handler.request(message, count)) this.#current = message;
        else if (stepping) break;
      } else if (count === -Errno.EAGAIN) break;
      // ENOENT: the request was given up between the wake-up and the read.
      else if (count === -Errno.EINTR || count === -Errno.ENOENT) continue;
      else {
        if (count === 0 || count === -Errno.ENODEV) handler.ended('unmounted');
        else if (count === -Errno.ECONNABORTED) handler.ended('aborted');
        else handler.ended(new Error(`reading /dev/fuse failed: ${errnoName(-count)}`));
        break;
      }
    }
    // Promise jobs that a call from native code has caused do not run after it, but in the next turn of the event loop.
    setImmediate(nothing);
    this.#wakefulness.touch();
  }
}

function nothing(): void {}
