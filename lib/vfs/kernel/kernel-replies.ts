/**
 * Replies to the kernel that carry attributes or a name. Owns how an object is shown to the kernel and for how long the
 * kernel may believe that; each reply is noted in the {@link KernelView}.
 */
import type { AttributesReply, EntryReply, NegativeEntryReply } from '../../fuse/contract/operations.js';
import type { Fattr3, FileName } from '../../programs/nfs3/index.js';
import type { AttributeCache } from '../cache/attribute-cache.js';
import type { Inode } from '../cache/inode.js';
import type { InodeTable } from '../cache/inode-table.js';
import type { Identity } from '../caller/identity.js';
import type { ClientConfig } from '../config.js';
import { type AttributeView, toFuseAttributes } from './fuse-attributes.js';
import { KernelView } from './kernel-view.js';

export interface KernelRepliesParts {
  readonly config: ClientConfig;
  readonly inodes: InodeTable;
  readonly attributes: AttributeCache;
  readonly kernel: KernelView;
  /** Undefined: the server's ids are this machine's. */
  readonly identity: Identity | undefined;
  /** FUSE generation of every inode: node ids start again with each mount, and this tells the mounts apart. */
  readonly generation: number;
  /** st_blksize of stat(2), in bytes. */
  readonly blockSize: number;
}

export class KernelReplies {
  readonly #parts: KernelRepliesParts;
  #view: AttributeView;

  constructor(parts: KernelRepliesParts) {
    this.#parts = parts;
    this.#view = { rootFsid: 0n, blksize: parts.blockSize, identity: parts.identity };
  }

  /** The file system of the mount's root: objects of others are shown with inode numbers of their own. */
  get rootFsid(): bigint {
    return this.#view.rootFsid;
  }

  /** FUSE generation of the inodes of this mount. */
  get generation(): number {
    return this.#parts.generation;
  }

  /** The root looks like this. */
  sawRoot({ fsid }: Fattr3): void {
    this.#view = { ...this.#view, rootFsid: fsid };
  }

  /** The attributes of an object, for as long as they are trusted here. */
  attributes(inode: Inode, attributes: Fattr3): AttributesReply {
    const shown = KernelView.shown(inode, attributes);
    // The last word on what was set is the server's: whoever looks has it asked for.
    const attrValidMs = inode.writer?.setsLater ? 0 : this.#parts.attributes.remaining(inode);
    this.#parts.kernel.tells(inode, shown, attrValidMs);
    return { attributes: toFuseAttributes(shown, this.#view, shown.size, shown.nlink), attrValidMs };
  }

  /**
   * Hands the inode over to the kernel under `name` in `parent`. Counts one reference of the kernel: where the reply
   * does not arrive, the caller takes it back (InodeTable.forget).
   */
  handOver(
    parent: Inode,
    name: FileName,
    inode: Inode,
    attributes: Fattr3,
    entryValidMs: number,
  ): EntryReply {
    const reply = this.handOverDentry(inode, attributes, entryValidMs);
    this.#parts.kernel.tellsName(parent, name, inode, entryValidMs);
    return reply;
  }

  /** As {@link handOver}, where the dentry knows already what the kernel is told of the name. */
  handOverDentry(inode: Inode, attributes: Fattr3, entryValidMs: number): EntryReply {
    this.#parts.inodes.hold(inode);
    return {
      nodeid: inode.nodeid,
      // The kernel made the root's inode itself, with generation 0: told another one, it gives the root up as stale.
      generation: inode.isRoot ? 0 : this.#parts.generation,
      entryValidMs,
      ...this.attributes(inode, attributes),
    };
  }

  /** `name` in `parent` is not there, as of a call that was sent under `generation`. */
  absent(parent: Inode, name: FileName, generation: number): NegativeEntryReply {
    const entryValidMs = this.entryValidity(parent, generation, false);
    this.#parts.kernel.tellsName(parent, name, undefined, entryValidMs);
    return { nodeid: 0, entryValidMs };
  }

  /** How many milliseconds the kernel may trust a name in `parent` that was learnt under `generation`. */
  entryValidity(parent: Inode, generation: number, positive: boolean): number {
    const { config, attributes, kernel } = this.#parts;
    if (config.lookupCache === 'none' || (config.lookupCache === 'pos' && !positive)) return 0;
    const trustedMs = parent.generation === generation ? attributes.remaining(parent) : 0;
    return kernel.entryValidity(trustedMs, positive);
  }
}
