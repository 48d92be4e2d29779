/** The consequences of changes that this mount did not make: for the caches, and for what the kernel was told. */
import type { Fattr3 } from '../../programs/nfs3/index.js';
import { FileType } from '../../programs/nfs3/index.js';
import type { AttributeCache, AttributeEvents } from '../cache/attribute-cache.js';
import type { Inode } from '../cache/inode.js';
import type { InodeTable } from '../cache/inode-table.js';
import { onlyCtimeMoved } from '../cache/own-changes.js';
import type { RedriveEvents } from '../remote/redrive.js';
import type { KernelView } from './kernel-view.js';

export interface ForeignChangesParts {
  readonly inodes: InodeTable;
  readonly kernel: KernelView;
  /** Asked late: the cache that reports the changes needs this object first. */
  readonly attributes: () => AttributeCache;
}

export class ForeignChanges implements AttributeEvents, RedriveEvents {
  readonly #parts: ForeignChangesParts;
  /** Objects that were seen to lose their last name. */
  readonly #removals = new WeakSet<Inode>();

  constructor(parts: ForeignChangesParts) {
    this.#parts = parts;
  }

  changedHere(inode: Inode): void {
    this.#parts.kernel.doubts(inode);
  }

  ownershipChanged(inode: Inode): void {
    this.#parts.kernel.refresh(inode);
  }

  /** The kernel asks before it uses what it knows of the object, and of its name. */
  vanished(inode: Inode): void {
    const { kernel } = this.#parts;
    kernel.forget(inode);
    if (inode.gone) kernel.nameGone(inode);
  }

  changedByOther(inode: Inode, before: Fattr3): void {
    const { kernel } = this.#parts;
    const { attributes } = inode;
    kernel.refresh(inode);
    if (inode.isDirectory) kernel.namesChanged(inode);
    // Another client may have renamed the object, removed one of its names, or put another in its place.
    if (attributes !== undefined && mayBeRenamed(before, attributes)) {
      inode.namesGeneration++;
      kernel.nameDoubted(inode);
    }
    if (attributes?.nlink === 0 && before.nlink !== 0) this.#removals.add(inode);
    // Open files show the change without being reopened; others drop their pages at the next open.
    if (!inode.isRegular || inode.opens === inode.opening || inode.pagesGeneration === -1) return;
    const { generation } = inode;
    // An open that comes before the pages are gone has to drop them itself.
    void kernel.dropPages(inode, before).then((dropped) => {
      if (dropped && inode.generation === generation) inode.pagesGeneration = generation;
    });
  }

  /**
   * Whether another client was seen to remove the last name of the object, for which the server answers all the same
   * (Linux's own does for a moment). True once for each time that this is seen.
   */
  takeRemoval(inode: Inode): boolean {
    return this.#removals.delete(inode);
  }

  identityChanged(inode: Inode): void {
    this.#parts.inodes.disown(inode);
    this.#parts.attributes().expire(inode);
    inode.markStale();
    inode.advanceGeneration();
    if (!inode.isRoot) return;
    // Nothing else can take the root's place: should the server insist, what it shows next is the root.
    this.#parts.attributes().forgetAll(inode);
  }
}

/**
 * Whether `now` looks as after a rename(2), link(2) or unlink(2) elsewhere: a new link count, or a new ctime and the same
 * data. A directory counts its subdirectories as links, so that only the loss of the last link shows that it was removed:
 * a server may keep it and answer for it, because somebody uses it.
 */
function mayBeRenamed(before: Fattr3, now: Fattr3): boolean {
  const moved = now.nlink !== before.nlink && (now.type !== FileType.DIR || now.nlink === 0);
  return moved || onlyCtimeMoved(before, now);
}
