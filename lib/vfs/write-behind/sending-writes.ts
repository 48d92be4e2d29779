/** The WRITEs of one file that are on their way, or wait for the wire. */
import type { FuseError } from '../../fuse/contract/errno.js';
import type { Fattr3 } from '../../programs/nfs3/index.js';
import type { Extent } from './extent.js';

/** A WRITE that was started, until all that it carries was answered. */
export interface Sending {
  readonly extent: Extent;
  /** Resolves when the first of it has gone out, or is known not to. */
  readonly begun: Promise<void>;
  readonly begin: () => void;
  /** The file as the last reply showed it. */
  after: Fattr3 | undefined;
  done: Promise<void>;
  error: FuseError | undefined;
}

export function sendingOf(extent: Extent): Sending {
  let begin = (): void => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  return { extent, begun, begin, after: undefined, done: Promise.resolve(), error: undefined };
}

/** WRITEs of a file that wait for the wire or are on it: then the writer waits. */
const MOST = 64;

export class SendingWrites extends Set<Sending> {
  #waiters: (() => void)[] = [];

  /** There are so many that the next has to wait. */
  get isFull(): boolean {
    return this.size >= MOST;
  }

  /** Resolves when one has ended. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  override delete(sending: Sending): boolean {
    const waiters = this.#waiters;
    this.#waiters = [];
    const was = super.delete(sending);
    for (const go of waiters) go();
    return was;
  }

  /** The lowest number of them; infinite without any. */
  get oldest(): number {
    let oldest = Number.POSITIVE_INFINITY;
    for (const { extent } of this) oldest = Math.min(oldest, extent.sequence);
    return oldest;
  }

  get bytes(): number {
    let bytes = 0;
    for (const { extent } of this) bytes += extent.length;
    return bytes;
  }

  /** Where the last of them ends; 0 without any. */
  get end(): number {
    let end = 0;
    for (const { extent } of this) end = Math.max(end, extent.end);
    return end;
  }

  /** Those that meet this range. */
  within(offset: number, end: number): Sending[] {
    const found: Sending[] = [];
    for (const sending of this) if (sending.extent.overlaps(offset, end)) found.push(sending);
    return found;
  }
}
