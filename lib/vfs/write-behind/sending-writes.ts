/** The WRITEs of one file that are on their way, or wait for the wire. */
import type { FuseError } from '../../fuse/contract/errno.js';
import type { Extent } from './extent.js';

/** A WRITE that was started, until all that it carries was answered. */
export interface Sending {
  readonly extent: Extent;
  done: Promise<void>;
  error: FuseError | undefined;
}

export class SendingWrites extends Set<Sending> {
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
