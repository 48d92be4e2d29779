/**
 * The part of one file that is not on stable storage: data that gathers, is on its way, or waits for a COMMIT, and attributes. Owns the
 * answers to what of a range, of the file's size and of its attributes is the server's to say.
 */
import type { Fattr3 } from '../../programs/nfs3/index.js';
import type { DeferredAttributes } from './deferred-attributes.js';
import type { Extent } from './extent.js';
import type { Gathering } from './gathering.js';
import { SendingWrites } from './sending-writes.js';
import { UnstableData } from './unstable-data.js';

export abstract class PendingData {
  protected abstract readonly gathering: Gathering;
  protected readonly sending = new SendingWrites();
  protected readonly unstable = new UnstableData();
  /** Undefined: none were ever set this way. */
  protected attributes: DeferredAttributes | undefined = undefined;

  /** The thread whose open(2) is making the file. Before that returns, the kernel asks for the file's mode and owner. */
  opening: number | undefined = undefined;

  /** Attributes have been set here that the server has not answered for yet. */
  get setsLater(): boolean {
    return this.attributes?.isEmpty === false;
  }

  /** The attributes as they will be then, where the server has these. */
  attributesWith(attributes: Fattr3): Fattr3 {
    return this.attributes?.shown(attributes) ?? attributes;
  }

  /** Bytes that a server which is lost now would take with it. */
  get unwrittenBytes(): number {
    return (this.gathering.extent?.length ?? 0) + this.sending.bytes + this.unstable.bytes;
  }

  /** Data has not reached the server. */
  protected get isUnsent(): boolean {
    return this.gathering.extent !== undefined || this.sending.size > 0;
  }

  /** Something has not reached the server. */
  get dirty(): boolean {
    return this.isUnsent || this.setsLater;
  }

  /**
   * The file's size, given what the server says and what has not reached it. Data that is not on stable storage counts
   * too: a server that has restarted may have lost it, and gets it again (as in Linux, where a file with writes
   * pending does not shrink).
   */
  sizeWith(size: bigint): bigint {
    const end = Math.max(this.unstableEnd, this.gathering.extent?.end ?? 0);
    return size >= end ? size : BigInt(end);
  }

  /** The lowest number that is not on stable storage. */
  protected get oldest(): number {
    return Math.min(this.gathering.oldest, this.sending.oldest, this.unstable.oldest);
  }

  /** Whether a read of this range has to wait until data is sent. */
  overlaps(offset: number, end: number): boolean {
    if (this.gathering.extent?.overlaps(offset, end)) return true;
    return this.sending.within(offset, end).length > 0;
  }

  /**
   * Where what was written and is not on stable storage ends: a server that has restarted, and was not written to
   * since, may have a shorter file.
   */
  get unstableEnd(): number {
    return Math.max(this.unstable.end, this.sending.end);
  }

  /** The parts of this range that were written and are not on stable storage, the latest last: a READ may miss them. */
  unstableWithin(offset: number, end: number): readonly Extent[] {
    const sent = this.sending.within(offset, end).map(({ extent }) => extent);
    return [...this.unstable.within(offset, end), ...sent].sort(
      (one, other) => one.sequence - other.sequence,
    );
  }
}
