/** Requests about one object that no other part answers: its attributes, a symbolic link's target, its file system. */
import { Errno, FuseError } from '../fuse/contract/errno.js';
import type { AttributesReply, FuseStatfs, SetAttributes } from '../fuse/contract/operations.js';
import { type Fattr3, type FileHandle, FSSTAT, type FsstatResult, Status } from '../programs/nfs3/index.js';
import type { CurrentAttributes } from './attributes/current-attributes.js';
import type { AttributeCache } from './cache/attribute-cache.js';
import type { Inode } from './cache/inode.js';
import type { InodeTable } from './cache/inode-table.js';
import type { Caller } from './caller/caller.js';
import { interruptible } from './caller/interruptible.js';
import type { TransferLimits } from './config.js';
import type { Files } from './data/files.js';
import type { ForeignChanges } from './kernel/foreign-changes.js';
import type { KernelReplies } from './kernel/kernel-replies.js';
import type { KernelView } from './kernel/kernel-view.js';
import type { SymbolicLinkNeeds } from './names/symbolic-link.js';
import { readTarget } from './names/symbolic-link.js';
import { type QuotaLimits, withinQuota } from './quota/quota-limits.js';
import type { Exchange } from './remote/exchange.js';
import { ofObject } from './remote/exchange.js';
import type { NfsClient } from './remote/nfs-client.js';
import type { ReachedBy, Redriver } from './remote/redrive.js';
import { isStale } from './remote/status-errno.js';

/** The parts of the mount that this needs. */
export interface ObjectRequestsNeeds extends SymbolicLinkNeeds {
  readonly attributes: AttributeCache;
  readonly current: CurrentAttributes;
  readonly exchange: Exchange;
  readonly foreign: ForeignChanges;
  readonly inodes: InodeTable;
  readonly kernel: KernelView;
  readonly limits: TransferLimits;
  readonly nfs: NfsClient;
  /** Undefined: statfs(2) does not go by quotas. */
  readonly quotas: QuotaLimits | undefined;
  readonly redriver: Redriver;
  readonly replies: KernelReplies;
}

/** Blocks of statfs(2), in bytes: the server counts bytes. */
const BLOCK_SIZE = 4096n;

function isAbsent(error: unknown): boolean {
  return error instanceof FuseError && error.errno === Errno.ENOENT;
}

/**
 * Whether a path led to an object that has no name any more, and not because of a silly rename. A program must not be shown
 * it, or refused it, or believe that it has changed what the path names.
 */
function isWithoutNames(inode: Inode, { nlink }: Fattr3, reachedBy: ReachedBy): boolean {
  return reachedBy === 'path' && nlink === 0 && inode.silly === undefined;
}

export class ObjectRequests {
  readonly #vfs: ObjectRequestsNeeds;
  readonly #files: Files;

  constructor(vfs: ObjectRequestsNeeds, files: Files) {
    this.#vfs = vfs;
    this.#files = files;
  }

  /** stat(2) and fstat(2), once the server has what was written here. Throws ENOENT and what the server says. */
  async attributes(inode: Inode, caller: Caller): Promise<AttributesReply> {
    const vfs = this.#vfs;
    const { writer, attributes: before } = inode;
    if (before !== undefined && writer?.setsLater && writer.opening === caller.tid) {
      // The kernel asks for mode and owner once more within the open(2) that makes the file. Programs that look come after that.
      writer.opening = undefined;
      return vfs.replies.attributes(inode, before);
    }
    // Size and times are the server's to say, once it has the data.
    if (writer?.dirty) {
      await interruptible(writer.drain(), caller.cancellation);
      // The replies to calls that began after this request did are as good as one to GETATTR.
      const { attributes: now, own } = inode;
      if (now !== undefined && now !== before && own === undefined && vfs.attributes.isFresh(inode))
        return vfs.replies.attributes(inode, now);
    }
    const reachedBy = vfs.kernel.reachedBy(inode);
    try {
      const latest = await this.#latest(inode, caller, reachedBy);
      if (isWithoutNames(inode, latest, reachedBy) && vfs.foreign.takeRemoval(inode))
        throw this.#lookAgain(inode, caller);
      return vfs.replies.attributes(inode, latest);
    } catch (error) {
      // fstat(2) of what another client deleted: a local file system would still answer.
      if (inode.opens === 0 || inode.attributes === undefined || !isAbsent(error)) throw error;
      const nlink = inode.gone ? 0 : inode.attributes.nlink;
      return { ...vfs.replies.attributes(inode, { ...inode.attributes, nlink }), attrValidMs: 0 };
    }
  }

  /** Makes the kernel look the path up again, which led to an object that another client has removed. */
  #lookAgain(inode: Inode, caller: Caller): FuseError {
    inode.markStale();
    return this.#vfs.redriver.reportStale(inode, caller, 'path');
  }

  #latest(inode: Inode, caller: Caller, reachedBy: ReachedBy): Fattr3 | Promise<Fattr3> {
    const vfs = this.#vfs;
    const known = vfs.kernel.insists(inode, caller) ? undefined : vfs.current.trusted(inode);
    return known ?? vfs.kernel.answer(inode, () => vfs.current.fetch(inode, caller, reachedBy));
  }

  /** chmod(2), chown(2), truncate(2), utimensat(2) and their kin; `changes` are in the server's ids. */
  async setAttributes(inode: Inode, changes: SetAttributes, caller: Caller): Promise<AttributesReply> {
    const { foreign, kernel } = this.#vfs;
    const reachedBy = changes.fh === undefined ? kernel.reachedBy(inode) : 'descriptor';
    const before = inode.attributes;
    const attributes = await kernel.answer(inode, () => this.#files.setAttributes(inode, changes, caller));
    if (isWithoutNames(inode, attributes, reachedBy)) {
      const removed = before !== undefined && before.nlink > 0;
      if (foreign.takeRemoval(inode) || removed) throw this.#lookAgain(inode, caller);
    }
    // The kernel looks a directory up again after its mode was changed (fuse_do_setattr).
    if (inode.isDirectory && inode.parent !== undefined)
      kernel.tellsName(inode.parent, inode.name, undefined, 0);
    return this.#vfs.replies.attributes(inode, attributes);
  }

  /**
   * readlink(2), and a path walk through the link. Throws ENAMETOOLONG for a target that no program could follow.
   *
   * The lookup of the link may have shown that another client changed its directory. The walk goes on with the target,
   * which may be in that directory: so the kernel first takes what it was told of the names there.
   */
  async target(inode: Inode, caller: Caller): Promise<Uint8Array> {
    const { kernel } = this.#vfs;
    kernel.doubts(inode);
    const target = await readTarget(this.#vfs, inode, caller);
    await kernel.notified();
    return target;
  }

  /** statfs(2) of the file system that the object is in, within the caller's quota if the mount goes by quotas. */
  async fileSystem(inode: Inode, caller: Caller): Promise<FuseStatfs> {
    const { inodes, quotas } = this.#vfs;
    const asked = quotas?.of(caller.credential);
    const statfs = await this.#fileSystem(inode, caller);
    const quota = asked && (await interruptible(asked, caller.cancellation));
    // The quota is that of the exported file system. Another one may be mounted in it on the server.
    const isExported = inode.attributes?.fsid === inodes.root.attributes?.fsid;
    return quota !== undefined && isExported ? withinQuota(statfs, quota) : statfs;
  }

  async #fileSystem(inode: Inode, caller: Caller): Promise<FuseStatfs> {
    const { exchange, inodes, kernel, limits, nfs, redriver } = this.#vfs;
    const ask = async (of: Inode): Promise<FsstatResult> => {
      const call = (object: FileHandle): Promise<FsstatResult> => nfs.call(FSSTAT, { object }, caller);
      return (await exchange.ask(of, caller, call, ofObject)).result;
    };
    let result = await ask(inode);
    // The file system outlives what is in it.
    if (isStale(result.status) && !inode.isRoot) result = await ask(inodes.root);
    if (result.status !== Status.OK)
      throw redriver.reportFailure(result, [inodes.root], caller, kernel.reachedBy(inodes.root));
    return {
      blocks: result.totalBytes / BLOCK_SIZE,
      bfree: result.freeBytes / BLOCK_SIZE,
      bavail: result.availableBytes / BLOCK_SIZE,
      files: result.totalFiles,
      ffree: result.freeFiles,
      bsize: limits.wsize,
      frsize: Number(BLOCK_SIZE),
      namelen: limits.nameMax,
    };
  }
}
