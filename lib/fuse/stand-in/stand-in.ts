/**
 * Stands between the kernel and a process that takes a connection over while that cannot serve yet: its server may be away for
 * hours. A program that is killed must not wait for that. The kernel lets it go at once only from requests that nobody has read,
 * never from FLUSH, and the process before has read the others. So requests are read here, and those of callers whom no answer
 * reaches any more are ended. Owns the requests that are read meanwhile; the session that follows gets all others from the kernel again.
 */
import { Errno } from '../contract/errno.js';
import type { ConnectionInfo, RequestContext } from '../contract/operations.js';
import { InitFlag, Opcode, Size } from '../contract/protocol.js';
import type { Channel, ChannelHandler } from '../session/channel/channel.js';
import { KernelChannel } from '../session/channel/device.js';
import { FuseDump } from '../session/dump.js';
import { type SessionTimers, systemTimers } from '../session/interrupts.js';
import { KernelNotifier } from '../session/notifier.js';
import { ReplyBuffer } from '../session/reply.js';
import { FuseRequest } from '../session/request.js';
import { REQUEST_HEADROOM, type RequestBuffer } from '../session/request-buffer.js';
import { interruptOf } from '../session/requests-under-way.js';

/** Most takeovers are done by then, and nobody is to be slowed down for the sake of the others. */
const BEGIN_AFTER_MS = 1_000;
/** The kernel tells of the first signal only, which need not be the one that kills. */
const LOOK_EVERY_MS = 1_000;
/** Callers that are looked at in one go; the others have their turn the next time. */
const LOOKS_AT_ONCE = 256;
/** Programs that end by themselves are let go once nobody has served the mount for so long. A server may be slow. */
const EXITING_AFTER_MS = 30_000;

/**
 * The fate of a caller. `killed`: SIGKILL ends it, and no answer reaches it. `exiting`: it has ended, and the kernel closes
 * its files. `unseen`: nobody can tell.
 */
export type CallerFate = 'waits' | 'killed' | 'exiting' | 'unseen';

export interface StandInOptions {
  /** The agreement with the kernel. */
  readonly connection: ConnectionInfo;
  readonly fateOf: (caller: Pick<RequestContext, 'pid' | 'uid' | 'gid'>) => CallerFate;
  readonly log: (line: string) => void;
  /** As in SessionOptions. */
  readonly debug?: ((line: string) => void) | undefined;
  readonly timers?: SessionTimers | undefined;
}

export class StandIn implements ChannelHandler {
  readonly #open: () => Channel;
  readonly #options: StandInOptions;
  readonly #timers: SessionTimers;
  readonly #dump: FuseDump | undefined;
  readonly #reply = new ReplyBuffer(Size.OUT_HEADER);
  #channel: Channel | undefined = undefined;
  /** Those that wait, by their number; the one that was looked at last stands last. */
  readonly #held = new Map<number, FuseRequest>();
  #left: Uint8Array[] = [];
  #timer: unknown = undefined;
  #looks = 0;

  /** `fd`: /dev/fuse, past INIT, which stays the caller's; or how a channel to it is made. */
  constructor(fd: number | (() => Channel), options: StandInOptions) {
    this.#open = typeof fd === 'number' ? () => new KernelChannel(fd, { isBorrowed: true }) : fd;
    this.#options = options;
    this.#timers = options.timers ?? systemTimers;
    this.#dump = options.debug === undefined ? undefined : new FuseDump(options.debug);
  }

  /**
   * Stands in from a second later on. Nobody else may read from the connection until {@link end}. Does nothing on kernels that
   * cannot repeat requests (before Linux 6.9): what was read here would be lost.
   */
  begin(): void {
    if ((this.#options.connection.flags & InitFlag.HAS_RESEND) === 0n || this.#timer !== undefined) return;
    this.#timer = this.#timers.set(() => this.#start(), BEGIN_AFTER_MS);
  }

  /**
   * Stops, and answers what the session is to be given (`requests` of SessionOptions): what the kernel does not send again, in the
   * order in which it came.
   */
  end(): readonly Uint8Array[] {
    this.#stop();
    this.#held.clear();
    const left = this.#left;
    this.#left = [];
    return left;
  }

  request(message: RequestBuffer, length: number): boolean {
    // The session meets the same message, and knows what to do.
    if (length < Size.IN_HEADER || message.word(0) !== length) return false;
    this.#dump?.request(message, length);
    const opcode = message.word(4);
    switch (opcode) {
      case Opcode.FORGET:
      case Opcode.BATCH_FORGET:
        this.#left.push(copyOf(message, length));
        return false;
      case Opcode.INTERRUPT: {
        const interrupted = this.#held.get(message.unique(Size.IN_HEADER));
        if (interrupted === undefined) return false;
        interrupted.interrupted = true;
        this.#look(interrupted);
        return false;
      }
      case Opcode.NOTIFY_REPLY:
        return false;
      default:
    }
    const request = new FuseRequest(message);
    if (endsLocks(message)) request.bytes = copyOf(message, length);
    this.#held.set(request.unique, request);
    return false;
  }

  ended(): void {
    this.#stop();
  }

  #start(): void {
    const { connection, log, debug } = this.#options;
    const channel = this.#open();
    this.#channel = channel;
    channel.start(this, connection.maxWrite + REQUEST_HEADROOM);
    new KernelNotifier(channel, log, debug).resend();
    this.#lookLater();
  }

  #stop(): void {
    this.#timers.clear(this.#timer);
    this.#timer = undefined;
    this.#channel?.close();
    this.#channel = undefined;
  }

  #lookLater(): void {
    this.#timer = this.#timers.set(() => {
      this.#looks++;
      for (const request of [...this.#held.values()].slice(0, LOOKS_AT_ONCE)) {
        this.#held.delete(request.unique);
        this.#held.set(request.unique, request);
        this.#look(request);
      }
      this.#lookLater();
    }, LOOK_EVERY_MS);
  }

  #look(request: FuseRequest): void {
    if (!this.#isPastAnswers(request)) return;
    this.#held.delete(request.unique);
    // Interrupted, it takes no error of the file with it that others have to be told of.
    if (request.bytes !== undefined) this.#left.push(request.bytes, interruptOf(request.bytes));
    this.#reply.header(Size.OUT_HEADER, Errno.EINTR, request.uniqueLow, request.uniqueHigh);
    this.#dump?.error(request, Errno.EINTR);
    this.#channel?.write(this.#reply, Size.OUT_HEADER);
  }

  /** A program that handles the signal waits on, as with Linux's own client: it would see the error. */
  #isPastAnswers(request: FuseRequest): boolean {
    switch (this.#options.fateOf(request)) {
      case 'killed':
        return true;
      // Where a signal has ended it, the kernel has taken SIGKILL away from the thread, and still reports the signal.
      case 'exiting':
        return request.interrupted || this.#looks * LOOK_EVERY_MS >= EXITING_AFTER_MS;
      // A session ends what is interrupted as well, whatever the signal.
      case 'unseen':
        return request.interrupted;
      default:
        return false;
    }
  }
}

/** Locks that others wait for end with it: the session sees to that although its caller is gone. */
function endsLocks(message: RequestBuffer): boolean {
  const opcode = message.word(4);
  if (opcode === Opcode.FLUSH) return true;
  if (opcode !== Opcode.SETLK && opcode !== Opcode.SETLKW) return false;
  return message.word(LOCK_TYPE_AT) === F_UNLCK;
}

/** fcntl(2) */
const F_UNLCK = 2;
/** fh, owner, start and end stand before it (struct fuse_lk_in). */
const LOCK_TYPE_AT = Size.IN_HEADER + 4 * 8;

function copyOf(message: RequestBuffer, length: number): Uint8Array {
  return Uint8Array.from(message.bytes.subarray(0, length));
}
