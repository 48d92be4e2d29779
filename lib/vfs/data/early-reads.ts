/**
 * READs that go out along with an open: a small file that is opened for reading will most likely be read from its start
 * next, and the data can come with the answer to the question that close-to-open asks anyway. Owns which opens are
 * followed by a read, as far as that can be known.
 *
 * Nothing that a program sees is older for it: the READ is sent after open(2) has begun, and its data serves only a read
 * that comes within as long after the open's answer as the open took, and soon (first-read.ts). Another client that learns of the
 * open, changes the file and lets the program know needs longer than that.
 */
import type { Clock } from '../../base/clock.js';
import type { Inode } from '../cache/inode.js';
import type { UserCredential } from '../caller/caller.js';
import type { ClientConfig } from '../config.js';
import type { KernelView } from '../kernel/kernel-view.js';
import { bypassesCache, opensForReading, opensForWriting } from '../open-flags.js';
import { ReadAhead, type ReadAheadNeeds } from './read-ahead.js';

export interface EarlyReadsNeeds extends ReadAheadNeeds {
  readonly clock: Clock;
  readonly config: ClientConfig;
  readonly kernel: KernelView;
}

/** The largest file that is read along with its open, in bytes. */
const LARGEST = 128 * 1024;
/** A page more than the file has: a reply that is shorter than was asked for has reached its end. */
const PAGE = 4096;
/** A READ in vain costs two of these, one that served a read earns one: two of three have to. */
const MOST_CREDIT = 8;
const IN_VAIN = -2;
/** Opens that go alone before it is tried again. */
const OPENS_ALONE = 64;

export class EarlyReads {
  readonly #vfs: EarlyReadsNeeds;
  #credit = MOST_CREDIT;
  #alone = 0;

  constructor(vfs: EarlyReadsNeeds) {
    this.#vfs = vfs;
  }

  /**
   * Sends the READ for an open that is about to ask the server. Undefined where it would most likely be in vain. The
   * caller gives it to the open file, or drops it.
   */
  begin(inode: Inode, flags: number, credential: UserCredential): ReadAhead | undefined {
    const { rsize } = this.#vfs.limits;
    const size = Number(inode.attributes?.size ?? 0n);
    if (!this.#isEnabled || size === 0 || size > Math.min(LARGEST, rsize)) return undefined;
    if (!opensForReading(flags) || opensForWriting(flags) || bypassesCache(flags)) return undefined;
    if (!inode.isRegular || inode.stale || holdsPages(inode) || isBeingChanged(inode)) return undefined;
    if (!this.#isPromising()) return undefined;
    const length = Math.min(rsize, (Math.floor(size / PAGE) + 1) * PAGE);
    const early = ReadAhead.early(this.#vfs, inode, credential, length, (served) => {
      this.#ended(served !== undefined);
      // They are younger than the open, and have the time of access as this read left it.
      if (early !== undefined && served?.attributes !== undefined)
        this.#vfs.kernel.readAlong(inode, served.attributes, early.until);
    });
    return early;
  }

  get #isEnabled(): boolean {
    const { closeToOpen, earlyRead, attributeCache, acRegMaxMs } = this.#vfs.config;
    // Without an attribute cache each read asks for itself. Without close-to-open there is nothing to go along with.
    return earlyRead && closeToOpen && attributeCache && acRegMaxMs > 0;
  }

  #isPromising(): boolean {
    if (this.#credit > 0) return true;
    if (this.#alone++ < OPENS_ALONE) return false;
    this.#alone = 0;
    this.#credit = 1;
    return true;
  }

  #ended(used: boolean): void {
    if (used) this.#vfs.counters.earlyReadHits++;
    else this.#vfs.counters.earlyReadWasted++;
    this.#credit = Math.min(MOST_CREDIT, Math.max(0, this.#credit + (used ? 1 : IN_VAIN)));
  }
}

/** The kernel may answer reads by itself; or the file was opened before as it is, and nobody read it. */
function holdsPages(inode: Inode): boolean {
  return inode.pagesGeneration === inode.generation && !inode.pagesRacy;
}

/** Through this mount: data that is on its way belongs to the file as well. */
function isBeingChanged({ writer, own, removing }: Inode): boolean {
  return (writer !== undefined && !writer.clean) || own !== undefined || removing !== undefined;
}
