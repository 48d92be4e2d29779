/** Binds what the server says a name stands for to an inode: the one that is known by the handle, or a new one. */
import type { Fattr3, FileHandle, FileName } from '../../programs/nfs3/index.js';
import type { AttributeCache, CallStart } from '../cache/attribute-cache.js';
import type { DentryCache } from '../cache/dentry-cache.js';
import type { Inode } from '../cache/inode.js';
import type { InodeTable } from '../cache/inode-table.js';
import type { Redriver } from '../remote/redrive.js';

/** A name as a reply describes it. */
export interface NamedObject {
  readonly parent: Inode;
  readonly name: FileName;
  readonly handle: FileHandle;
  readonly attributes: Fattr3 | undefined;
  /** When the call began. */
  readonly start: CallStart;
  /** The parent's, from before the call. */
  readonly generation: number;
}

export interface BindingParts {
  readonly inodes: InodeTable;
  readonly dentries: DentryCache;
  readonly attributes: AttributeCache;
  readonly redriver: Redriver;
}

export class Binding {
  readonly #parts: BindingParts;

  constructor(parts: BindingParts) {
    this.#parts = parts;
  }

  /** The inode of a handle that the server has just named; the dentry and the attributes are noted. */
  bind(named: NamedObject): Inode {
    const { inodes, dentries, attributes: cache } = this.#parts;
    const { parent, name, handle, attributes, start, generation } = named;
    this.#adopt(named);
    let inode = inodes.intern(handle);
    if (inode.stale && attributes !== undefined) {
      inode.revive();
      inode.staleReported = undefined;
    }
    cache.observe(inode, attributes, start);
    if (inode.stale) {
      // The handle was another object's before; that one is disowned by now.
      inode = inodes.intern(handle);
      cache.observe(inode, attributes, start);
    }
    dentries.set(parent, name, inode, generation);
    return inode;
  }

  /**
   * After the server came back with new handles: the object that the name stood for keeps its node id, so that open files
   * and the kernel's caches go on.
   */
  #adopt({ parent, name, handle, attributes }: NamedObject): void {
    const { inodes, dentries, redriver } = this.#parts;
    if (parent.epoch === 0 || attributes === undefined) return;
    const known = dentries.getUnverified(parent, name)?.inode;
    if (known === undefined || known.handle === handle || known.isRoot || known.evicted) return;
    if (known.parent !== parent || known.parentEpoch === parent.epoch) return;
    if (!redriver.isSameObject(known, parent, handle, attributes)) return;
    inodes.rekey(known, handle);
    known.epoch++;
    known.advanceGeneration();
  }
}
