/** What all parts of one mount share: the caches, the way to the server, and how inodes are shown to the kernel. */

import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import type {
  AttributesReply,
  EntryReply,
  FuseNotifier,
  NegativeEntryReply,
} from '../fuse/contract/operations.js';
import { type Fattr3, type FileHandle, FileType, GETATTR, Status } from '../programs/nfs3/index.js';
import { AttributeCache, type CallStart } from './cache/attribute-cache.js';
import { DentryCache } from './cache/dentry-cache.js';
import type { Inode } from './cache/inode.js';
import type { InodeTable } from './cache/inode-table.js';
import { onlyCtimeMoved } from './cache/own-changes.js';
import type { Caller } from './caller/caller.js';
import type { Identity } from './caller/identity.js';
import type { ClientConfig } from './config.js';
import type { VfsCounters } from './counters.js';
import { BufferPool } from './data/buffer-pool.js';
import type { ByteBudget } from './data/byte-budget.js';
import type { FileWriter } from './data/write-behind.js';
import { type AttributeView, toFuseAttributes } from './kernel/fuse-attributes.js';
import { KernelView } from './kernel/kernel-view.js';
import type { MemoryReturn } from './kernel/memory-return.js';
import { Exchange, ofObject } from './remote/exchange.js';
import type { NfsClient } from './remote/nfs-client.js';
import { type Operand, Redriver, type RootFinder } from './remote/redrive.js';

/** Sizes that FSINFO, PATHCONF and the options settled. */
export interface TransferLimits {
  readonly rsize: number;
  readonly wsize: number;
  readonly dtsize: number;
  readonly nameMax: number;
}

export interface VfsParts {
  readonly config: ClientConfig;
  /** Undefined: the server's ids are this machine's. */
  readonly identity?: Identity | undefined;
  readonly limits: TransferLimits;
  readonly nfs: NfsClient;
  readonly inodes: InodeTable;
  readonly rootFinder: RootFinder;
  readonly clock: Clock;
  readonly log: Logger;
  readonly counters: VfsCounters;
  /** FUSE generation of every inode: node ids start again with each mount, and this tells the mounts apart. */
  readonly generation: number;
  readonly memoryReturn?: MemoryReturn | undefined;
  readonly readBudget: ByteBudget;
  readonly writeBudget: ByteBudget;
}

/** How often attributes are asked for when the replies to two calls contradict each other. */
const MAX_ASKED = 3;
/** Buffers kept for the next writes: what a stream has between two COMMITs. */
const WRITE_BUFFERS = 48;

export class VfsState {
  readonly config: ClientConfig;
  readonly identity: Identity | undefined;
  readonly limits: TransferLimits;
  readonly nfs: NfsClient;
  readonly inodes: InodeTable;
  readonly clock: Clock;
  readonly log: Logger;
  readonly counters: VfsCounters;
  readonly readBudget: ByteBudget;
  readonly writeBudget: ByteBudget;
  /** Of wsize, for data on its way out. */
  readonly writeBuffers: BufferPool;
  readonly attributes: AttributeCache;
  readonly dentries: DentryCache;
  readonly redriver: Redriver;
  readonly exchange: Exchange;
  readonly memoryReturn: MemoryReturn | undefined;
  /** Files whose writes hold memory. */
  readonly writers = new Set<FileWriter>();
  readonly kernel: KernelView;
  /** Told of every inode that goes, for what is kept of it elsewhere. */
  onDrop: (inode: Inode) => void = () => {};
  /** Regular files open through this mount. */
  openFiles = 0;
  /** False once the server answered READDIRPLUS with NFS3ERR_NOTSUPP. */
  plusSupported = true;
  readonly #generation: number;
  /** Objects that {@link takeRemoval} has to tell of. */
  readonly #removals = new WeakSet<Inode>();
  #view: AttributeView;

  constructor(parts: VfsParts) {
    this.config = parts.config;
    this.identity = parts.identity;
    this.limits = parts.limits;
    this.nfs = parts.nfs;
    this.inodes = parts.inodes;
    this.clock = parts.clock;
    this.log = parts.log;
    this.counters = parts.counters;
    this.readBudget = parts.readBudget;
    this.writeBudget = parts.writeBudget;
    this.memoryReturn = parts.memoryReturn;
    this.dentries = new DentryCache();
    this.kernel = new KernelView(parts.clock, this.dentries);
    this.inodes.onDrop = (inode) => {
      this.dentries.forget(inode);
      this.memoryReturn?.dropped();
      this.onDrop(inode);
    };
    this.writeBuffers = new BufferPool(parts.limits.wsize, WRITE_BUFFERS);
    this.writeBudget.onShortage = () => {
      for (const writer of this.writers) writer.relieve();
    };
    this.#generation = parts.generation;
    this.#view = { rootFsid: 0n, blksize: parts.limits.wsize, identity: parts.identity };
    this.attributes = new AttributeCache(parts.config, () => parts.clock.now(), parts.counters.attributes, {
      changedByOther: (inode, before) => this.#changedByOther(inode, before),
      changedHere: (inode) => this.kernel.doubts(inode),
      identityChanged: (inode) => this.#identityChanged(inode),
      ownershipChanged: (inode) => this.kernel.refresh(inode),
    });
    this.redriver = new Redriver({
      nfs: parts.nfs,
      inodes: parts.inodes,
      attributes: this.attributes,
      rootFinder: parts.rootFinder,
      counters: parts.counters,
      log: parts.log,
      events: { vanished: (inode) => this.#vanished(inode) },
    });
    this.exchange = new Exchange(this.attributes, this.redriver);
  }

  get notifier(): FuseNotifier {
    return this.kernel.notifier;
  }

  /** The connection with the kernel is up. */
  set notifier(notifier: FuseNotifier) {
    this.kernel.notifier = notifier;
  }

  /** The kernel asks before it uses what it knows of the object, and of its name. */
  #vanished(inode: Inode): void {
    const { parent, name, gone } = inode;
    this.kernel.forget(inode);
    if (!gone || parent === undefined) return;
    this.kernel.tellsName(parent, name, 0);
    void this.notifier.invalidateEntry(parent.nodeid, Buffer.from(name, 'latin1'));
  }

  #changedByOther(inode: Inode, before: Fattr3): void {
    const { attributes } = inode;
    this.kernel.refresh(inode);
    if (inode.isDirectory) this.kernel.namesChanged(inode);
    if (attributes !== undefined && mayBeRenamed(before, attributes)) this.#doubtNames(inode);
    if (attributes?.nlink === 0 && before.nlink !== 0) this.#removals.add(inode);
    // Open files show the change without being reopened; others drop their pages at the next open.
    if (!inode.isRegular || inode.opens === inode.opening || inode.pagesGeneration === -1) return;
    const { generation } = inode;
    // An open that comes before the pages are gone has to drop them itself.
    void this.kernel.dropPages(inode, before).then((dropped) => {
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

  /** Another client may have renamed the object, removed one of its names, or put another object in its place. */
  #doubtNames(inode: Inode): void {
    inode.namesGeneration++;
    this.kernel.nameDoubted(inode);
  }

  #identityChanged(inode: Inode): void {
    this.inodes.disown(inode);
    this.attributes.expire(inode);
    inode.stale = true;
    inode.generation++;
    inode.accessGeneration++;
    if (!inode.isRoot) return;
    // Nothing else can take the root's place: should the server insist, what it shows next is the root.
    inode.attributes = undefined;
    inode.own?.restart();
  }

  /**
   * The inode of a handle that the server has just named, known by `name` in `parent`.
   * `generation` is the parent's from before the call.
   */
  bind(
    parent: Inode,
    name: string,
    handle: FileHandle,
    attributes: Fattr3 | undefined,
    start: CallStart,
    generation: number,
  ): Inode {
    this.#adopt(parent, name, handle, attributes);
    let inode = this.inodes.intern(handle);
    if (inode.stale && attributes !== undefined) {
      inode.stale = false;
      inode.gone = false;
      inode.staleReported = undefined;
    }
    this.attributes.observe(inode, attributes, start);
    if (inode.stale) {
      // The handle was another object's before; that one is disowned by now.
      inode = this.inodes.intern(handle);
      this.attributes.observe(inode, attributes, start);
    }
    this.dentries.set(parent, name, inode, generation);
    return inode;
  }

  /**
   * After the server came back with new handles: what the name stood for keeps its node id, so that open files and
   * the kernel's caches go on.
   */
  #adopt(parent: Inode, name: string, handle: FileHandle, attributes: Fattr3 | undefined): void {
    if (parent.epoch === 0 || attributes === undefined) return;
    const known = this.dentries.getUnverified(parent, name)?.inode;
    if (known === undefined || known.handle === handle || known.isRoot || known.evicted) return;
    if (known.parent !== parent || known.parentEpoch === parent.epoch) return;
    if (!this.redriver.isSameObject(known, parent, handle, attributes)) return;
    this.inodes.rekey(known, handle);
    known.epoch++;
    known.generation++;
    known.accessGeneration++;
  }

  /**
   * Attributes straight from the server, and no older than what other calls have brought meanwhile. Throws what the
   * application is to see.
   */
  async fetchAttributes(inode: Inode, caller: Caller, operand: Operand = 'path'): Promise<Fattr3> {
    for (let asked = 1; ; asked++) {
      const { result, start } = await this.exchange.ask(
        inode,
        caller,
        (object) => this.nfs.call(GETATTR, { object }, caller),
        ofObject,
      );
      if (result.status !== Status.OK) throw this.redriver.failure(result, [inode], caller, operand);
      // The handle answers for another object now.
      if (inode.stale) throw this.redriver.staleError(inode, caller, operand);
      if (inode.isRoot) this.#view = { ...this.#view, rootFsid: result.attributes.fsid };
      const latest = this.attributes.latest(inode, result.attributes, start);
      if (latest !== undefined) return latest;
      if (asked === MAX_ASKED) return result.attributes;
    }
  }

  /** Attributes from the cache while they are trusted. */
  trustedAttributes(inode: Inode): Fattr3 | undefined {
    const { counters } = this;
    if (inode.attributes !== undefined && this.attributes.isFresh(inode)) {
      counters.attributes.hits++;
      return inode.attributes;
    }
    counters.attributes.misses++;
    return undefined;
  }

  /** Attributes from the cache while they are trusted, else from the server. */
  async freshAttributes(inode: Inode, caller: Caller, operand: Operand = 'path'): Promise<Fattr3> {
    return this.trustedAttributes(inode) ?? this.fetchAttributes(inode, caller, operand);
  }

  /** The root's attributes, which came with the mount. */
  adoptRoot(attributes: Fattr3, start: CallStart): void {
    this.#view = { ...this.#view, rootFsid: attributes.fsid };
    this.attributes.observe(this.inodes.root, attributes, start);
  }

  get rootFsid(): bigint {
    return this.#view.rootFsid;
  }

  attributesReply(inode: Inode, attributes: Fattr3): AttributesReply {
    const shown = KernelView.shown(inode, attributes);
    const attrValidMs = this.attributes.remaining(inode);
    this.kernel.tells(inode, shown, attrValidMs);
    return { attributes: toFuseAttributes(shown, this.#view, shown.size, shown.nlink), attrValidMs };
  }

  /** `name` in `parent` stands for the inode. Also counts one reference of the kernel. */
  entryReply(
    parent: Inode,
    name: string,
    inode: Inode,
    attributes: Fattr3,
    entryValidMs: number,
  ): EntryReply {
    this.kernel.tellsName(parent, name, entryValidMs);
    return this.entryReplyOf(inode, attributes, entryValidMs);
  }

  /** As {@link entryReply}, where the dentry knows already what the kernel is told of the name. */
  entryReplyOf(inode: Inode, attributes: Fattr3, entryValidMs: number): EntryReply {
    this.inodes.hold(inode);
    return {
      nodeid: inode.nodeid,
      // The kernel made the root's inode itself, with generation 0: told another one, it gives the root up as stale.
      generation: inode.isRoot ? 0 : this.#generation,
      entryValidMs,
      ...this.attributesReply(inode, attributes),
    };
  }

  /** `name` in `parent` is not there, as of a call that was sent under `generation`. */
  negativeReply(parent: Inode, name: string, generation: number): NegativeEntryReply {
    const entryValidMs = this.entryValidity(parent, generation, false);
    this.kernel.tellsName(parent, name, entryValidMs);
    return { nodeid: 0, entryValidMs };
  }

  /** How long the kernel may trust a name in `parent` that was learnt under `generation`. */
  entryValidity(parent: Inode, generation: number, positive: boolean): number {
    const { lookupCache } = this.config;
    if (lookupCache === 'none' || (lookupCache === 'pos' && !positive)) return 0;
    const trustedMs = parent.generation === generation ? this.attributes.remaining(parent) : 0;
    return this.kernel.entryValidity(trustedMs, positive);
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
