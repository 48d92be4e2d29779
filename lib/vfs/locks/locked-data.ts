/**
 * Data follows the lock: a program that has got a lock sees the file as it is on the server now, and whoever gets it next
 * sees what the program wrote. Linux's client does the same (do_setlk, do_unlk in fs/nfs/file.c).
 */
import type { Cancellation } from '../../rpc/client/rpc-caller.js';
import type { CurrentAttributes } from '../attributes/current-attributes.js';
import type { AttributeCache } from '../cache/attribute-cache.js';
import type { Inode } from '../cache/inode.js';
import { type UserCredential, unattended } from '../caller/caller.js';
import { interruptible } from '../caller/interruptible.js';
import type { VfsCounters } from '../counters.js';
import type { KernelView } from '../kernel/kernel-view.js';
import { writerOf } from '../write-behind/write-behind.js';

export interface LockedDataNeeds {
  readonly attributes: AttributeCache;
  readonly counters: VfsCounters;
  readonly current: CurrentAttributes;
  readonly kernel: KernelView;
}

export class LockedData {
  readonly #vfs: LockedDataNeeds;
  /** Counts of Inode.contentChanges after a lock was granted, and pages were good: the same count means that they still are. */
  readonly #pagesGoodAt = new WeakMap<Inode, number>();
  /** Files whose pages are being dropped. */
  readonly #dropping = new Map<Inode, Promise<void>>();

  constructor(vfs: LockedDataNeeds) {
    this.#vfs = vfs;
  }

  /**
   * To be called when a lock was granted, before the program hears of it. Data of this mount goes to stable storage, what
   * was read ahead is void, attributes are asked for again, and pages are dropped unless they are known to be good.
   * @throws FuseError EINTR when the caller stops waiting
   */
  async refresh(
    inode: Inode,
    credential: UserCredential,
    cancellation: Cancellation | undefined,
  ): Promise<void> {
    const { attributes, kernel } = this.#vfs;
    const writer = writerOf(inode);
    // A write that failed is the next fsync's or close's to report.
    if (writer !== undefined && !writer.clean) await interruptible(writer.flush(), cancellation);
    const { contentChanges } = inode;
    attributes.expire(inode);
    // For another lock, which was granted a moment ago.
    const dropping = this.#dropping.get(inode);
    if (dropping !== undefined) await interruptible(dropping, cancellation);
    if (!inode.pagesFilled) inode.pagesGeneration = inode.generation;
    else if (!(await this.#pagesAreGood(inode, credential, cancellation)))
      await interruptible(this.#dropPages(inode), cancellation);
    const isQuiet = inode.contentChanges === contentChanges;
    // A READ that began before the lock must not answer one that comes after it.
    inode.countContentChange();
    if (isQuiet) this.#pagesGoodAt.set(inode, inode.contentChanges);
    const notified = kernel.notified(inode);
    if (notified !== undefined) await interruptible(notified, cancellation);
    kernel.forget(inode);
  }

  /**
   * Whether the kernel's pages are as the server has the file. Times of files move in ticks, so that a change need not
   * show: pages count as good only if they were read after the tick of the last change, and nothing was written here since.
   */
  async #pagesAreGood(
    inode: Inode,
    credential: UserCredential,
    cancellation: Cancellation | undefined,
  ): Promise<boolean> {
    const { generation } = inode;
    const mayBeGood = (): boolean =>
      !inode.pagesRacy &&
      inode.contentChanges === this.#pagesGoodAt.get(inode) &&
      inode.generation === generation;
    if (!mayBeGood() || inode.pagesGeneration !== generation) return false;
    try {
      await this.#vfs.current.fetch(inode, { ...unattended(credential), cancellation }, 'descriptor');
    } catch (error) {
      if (cancellation?.cancelled) throw error;
      return false;
    }
    return mayBeGood();
  }

  #dropPages(inode: Inode): Promise<void> {
    const { counters, kernel } = this.#vfs;
    // As of now: pages that are filled meanwhile may have to go the next time.
    inode.pagesGeneration = inode.generation;
    inode.pagesRacy = false;
    inode.pagesFilled = false;
    counters.pages.invalidated++;
    // A READ under way holds its page: the kernel waits for its end, and drops the page then.
    const dropped = kernel.notifier.invalidatePages(inode.nodeid, 0, 0).finally(() => {
      if (this.#dropping.get(inode) === dropped) this.#dropping.delete(inode);
    });
    this.#dropping.set(inode, dropped);
    return dropped;
  }

  /** To be called before the last word about a lock leaves: what was written under it is on stable storage, or failed. */
  async settle(inode: Inode): Promise<void> {
    const writer = writerOf(inode);
    if (writer !== undefined && !writer.clean) await writer.flush();
  }
}
