/**
 * Data follows the lock: a program that has got a lock sees the file as it is on the server now, and whoever gets it next
 * sees what the program wrote. Linux's client does the same (do_setlk, do_unlk in fs/nfs/file.c).
 */
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { Cancellation } from '../../rpc/client/rpc-caller.js';
import type { CurrentAttributes } from '../attributes/current-attributes.js';
import type { AttributeCache } from '../cache/attribute-cache.js';
import { type UserCredential, unattended } from '../caller/caller.js';
import { interruptible } from '../caller/interruptible.js';
import type { VfsCounters } from '../counters.js';
import { writerOf } from '../data/write-behind.js';
import type { KernelView } from '../kernel/kernel-view.js';
import type { LockedFile } from './locked-file.js';

export interface LockedDataNeeds {
  readonly attributes: AttributeCache;
  readonly counters: VfsCounters;
  readonly current: CurrentAttributes;
  readonly kernel: KernelView;
}

export class LockedData {
  readonly #vfs: LockedDataNeeds;

  constructor(vfs: LockedDataNeeds) {
    this.#vfs = vfs;
  }

  /**
   * To be called when a lock was granted, before the program hears of it. Data of this mount goes to stable storage, what
   * was read ahead is void, attributes are asked for again, and pages are dropped unless they are known to be good.
   * @throws FuseError EINTR when the caller stops waiting
   */
  async refresh(
    file: LockedFile,
    credential: UserCredential,
    cancellation: Cancellation | undefined,
  ): Promise<void> {
    const { inode } = file;
    const { attributes, kernel } = this.#vfs;
    const writer = writerOf(inode);
    // A write that failed is the next fsync's or close's to report.
    if (writer !== undefined && !writer.clean) await interruptible(writer.flush(), cancellation);
    attributes.expire(inode);
    if (inode.pagesFilled && !(await this.#pagesAreGood(file, credential, cancellation))) {
      // A READ under way holds its page: the kernel waits for its end, and drops the page then.
      await interruptible(kernel.notifier.invalidatePages(inode.nodeid, 0, 0), cancellation);
      this.#vfs.counters.pages.invalidated++;
      inode.pagesRacy = false;
      inode.pagesFilled = false;
    }
    inode.pagesGeneration = inode.generation;
    // A READ that began before the lock must not answer one that comes after it.
    inode.countContentChange();
    file.pagesGoodAt = inode.contentChanges;
    const notified = kernel.notified(inode);
    if (notified !== undefined) await interruptible(notified, cancellation);
    kernel.forget(inode);
  }

  /**
   * Whether the kernel's pages are as the server has the file. Times of files move in ticks, so that a change need not
   * show: pages count as good only if they were read after the tick of the last change, and nothing was written here since.
   */
  async #pagesAreGood(
    { inode, pagesGoodAt }: LockedFile,
    credential: UserCredential,
    cancellation: Cancellation | undefined,
  ): Promise<boolean> {
    const { generation } = inode;
    const mayBeGood = (): boolean =>
      !inode.pagesRacy && inode.contentChanges === pagesGoodAt && inode.generation === generation;
    if (!mayBeGood() || inode.pagesGeneration !== generation) return false;
    try {
      await this.#vfs.current.fetch(inode, { ...unattended(credential), cancellation }, 'descriptor');
    } catch (error) {
      if (cancellation?.cancelled) throw error;
      return false;
    }
    return mayBeGood();
  }

  /** To be called before the last word about a lock leaves: what was written under it is on stable storage, or failed. */
  async settle({ inode }: LockedFile): Promise<void> {
    const writer = writerOf(inode);
    if (writer !== undefined && !writer.clean) await writer.flush();
  }
}

/** Throws EINTR if the caller has stopped waiting. */
export function throwIfCancelled(cancellation: Cancellation | undefined): void {
  if (cancellation?.cancelled) throw new FuseError(Errno.EINTR);
}
