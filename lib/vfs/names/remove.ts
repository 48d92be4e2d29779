/** Operations that take a name away: unlink, rmdir, rename. */
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import {
  type DirectoryName,
  type FileHandle,
  type FileName,
  REMOVE,
  RENAME,
  type RenameResult,
  RMDIR,
  Status,
  type WccResult,
} from '../../programs/nfs3/index.js';
import type { Procedure } from '../../rpc/wire/procedure.js';
import type { ClaimedRightsNeeds } from '../access/claimed-rights.js';
import { mayMove, mayTakeName } from '../access/claimed-rights.js';
import type { AttributeCache } from '../cache/attribute-cache.js';
import type { DentryCache, DentryKey } from '../cache/dentry-cache.js';
import type { Inode } from '../cache/inode.js';
import type { InodeTable } from '../cache/inode-table.js';
import type { OpenObjects } from '../cache/open-objects.js';
import type { Caller } from '../caller/caller.js';
import { interruptible } from '../caller/interruptible.js';
import type { Exchange } from '../remote/exchange.js';
import type { NfsClient } from '../remote/nfs-client.js';
import type { Redriver } from '../remote/redrive.js';
import { Replay, type RequestRecords } from '../remote/replay.js';
import type { Lookup } from './lookup.js';
import type { SillyRenames } from './silly-rename.js';

/** The parts of the mount that this needs. */
export interface RemoveNeeds extends ClaimedRightsNeeds {
  readonly attributes: AttributeCache;
  readonly dentries: DentryCache;
  readonly exchange: Exchange;
  readonly inodes: InodeTable;
  readonly nfs: NfsClient;
  readonly open: OpenObjects;
  readonly records: { readonly requests: RequestRecords } | undefined;
  readonly redriver: Redriver;
}

/** `moved`: what the old name stands for, where that is known. */
interface Renaming {
  readonly from: DentryKey;
  readonly to: DentryKey;
  readonly moved: Inode | undefined;
}

export class RemoveRequests {
  readonly #vfs: RemoveNeeds;
  readonly #lookup: Lookup;
  readonly #silly: SillyRenames;

  constructor(vfs: RemoveNeeds, lookup: Lookup, silly: SillyRenames) {
    this.#vfs = vfs;
    this.#lookup = lookup;
    this.#silly = silly;
  }

  async unlink(parent: Inode, name: FileName, caller: Caller): Promise<void> {
    if (caller.claim !== undefined) await this.#mayTake(parent, name, caller);
    const replay = new Replay(parent, caller, this.#vfs.records?.requests);
    if (!replay.isDone) await replay.during(() => this.#unlink({ parent, name }, replay, caller));
  }

  async #unlink({ parent, name }: DentryKey, replay: Replay, caller: Caller): Promise<void> {
    const open = await this.#openFileNamed(parent, name, caller);
    if (open !== undefined && !(await this.#survives(open, { parent, name }, caller))) {
      await this.#silly.takeAway(parent, name, open, caller);
      return;
    }
    const inode = this.#vfs.dentries.getUnverified(parent, name)?.inode;
    if (inode !== undefined) this.#vfs.attributes.expectCtime(inode);
    const done = this.#remove(REMOVE, { parent, name }, replay, caller);
    if (inode === undefined) return done;
    // An open that comes meanwhile waits for the outcome.
    inode.removing = done.then(
      () => {},
      () => {},
    );
    try {
      await done;
    } catch (error) {
      this.#vfs.attributes.expectNoCtime(inode);
      throw error;
    } finally {
      inode.removing = undefined;
    }
    this.#linkGone(inode);
  }

  async rmdir(parent: Inode, name: FileName, caller: Caller): Promise<void> {
    if (caller.claim !== undefined) await this.#mayTake(parent, name, caller);
    const replay = new Replay(parent, caller, this.#vfs.records?.requests);
    if (replay.isDone) return;
    const inode = this.#vfs.dentries.getUnverified(parent, name)?.inode;
    await replay.during(async () => {
      await interruptible(this.#silly.settle(parent, name), caller.cancellation);
      await this.#remove(RMDIR, { parent, name }, replay, caller);
    });
    if (inode === undefined) return;
    // Nobody will come back for it: it goes as soon as the kernel forgets it.
    this.#vfs.attributes.lastLinkGone(inode);
    this.#vfs.inodes.release(inode);
  }

  /** Checks that the object of the name may be taken away by a caller whom the server does not know. @throws FuseError */
  async #mayTake(parent: Inode, name: FileName, caller: Caller): Promise<void> {
    const find = () => this.#find(parent, name, caller);
    await mayTakeName(this.#vfs, parent, caller, find);
  }

  async #mayRename(from: DentryKey, to: DentryKey, caller: Caller): Promise<void> {
    await this.#mayTake(from.parent, from.name, caller);
    await this.#mayTake(to.parent, to.name, caller);
    if (from.parent === to.parent) return;
    const moved = await this.#find(from.parent, from.name, caller);
    if (moved !== undefined) await mayMove(this.#vfs, moved, caller);
  }

  /** Whether the file goes on under its silly name when it loses this one, which is another of its names. */
  #survives(inode: Inode, { parent, name }: DentryKey, { cancellation }: Caller): Promise<boolean> {
    return interruptible(this.#silly.survives(inode, parent, name), cancellation);
  }

  async #find(parent: Inode, name: FileName, caller: Caller): Promise<Inode | undefined> {
    return (await this.#lookup.find(parent, name, caller))?.inode;
  }

  /** One of the names of a file went: its link count and ctime moved by our own doing. */
  #linkGone(inode: Inode): void {
    const { attributes } = this.#vfs;
    if (inode.attributes !== undefined && inode.attributes.nlink <= 1 && inode.opens === 0) inode.markStale();
    attributes.expire(inode);
    this.#vfs.inodes.release(inode);
  }

  async #remove(
    procedure: Procedure<DirectoryName, WccResult>,
    { parent, name }: DentryKey,
    replay: Replay,
    caller: Caller,
  ): Promise<void> {
    const { exchange, redriver, nfs, dentries } = this.#vfs;
    const generation = parent.generation;
    const call = (directory: FileHandle): Promise<WccResult> =>
      nfs.call(procedure, { directory, name }, caller, replay.onRetransmit);
    const changing = exchange.change(parent, caller, call, ({ wcc }) => wcc);
    const { result } = await changing.finally(() => dentries.delete(parent, name));
    if (result.status === Status.OK || result.status === Status.NOENT) {
      dentries.set(parent, name, undefined, generation);
    }
    // The name is gone, as was wanted: the first of our calls did it, or somebody else in the same moment.
    if (result.status === Status.NOENT && replay.retransmitted) return;
    if (result.status !== Status.OK) replay.changedNothing();
    if (result.status !== Status.OK) throw redriver.reportFailure(result, [parent], caller);
  }

  /**
   * The inode of a name, if it is a file that is open through this mount. Where the caches do not know for
   * certain what the name stands for, the server is asked: a wrong guess would delete a file in use.
   */
  async #openFileNamed(parent: Inode, name: FileName, caller: Caller): Promise<Inode | undefined> {
    const { dentries, attributes } = this.#vfs;
    const known = dentries.get(parent, name);
    let inode = known?.inode;
    const certain = known !== undefined && attributes.isFresh(parent);
    if (!certain && (inode === undefined || inode.opens > 0) && this.#vfs.open.files > 0) {
      inode = (await this.#lookup.find(parent, name, caller))?.inode;
    }
    return inode !== undefined && inode.opens > 0 && !inode.isDirectory ? inode : undefined;
  }

  /** RENAME. A file that is open and would be replaced gets a silly name first. Flags of renameat2(2): EINVAL. */
  async rename(from: DentryKey, to: DentryKey, flags: number, caller: Caller): Promise<void> {
    if (flags !== 0) throw new FuseError(Errno.EINVAL, 'NFSv3 has no rename with flags');
    const { parent } = from;
    if (caller.claim !== undefined) await this.#mayRename(from, to, caller);
    const replay = new Replay(parent, caller, this.#vfs.records?.requests);
    if (!replay.isDone) await replay.during(() => this.#renameOnce(from, to, replay, caller));
  }

  async #renameOnce(from: DentryKey, to: DentryKey, replay: Replay, caller: Caller): Promise<void> {
    const { parent, name } = from;
    const { parent: newParent, name: newName } = to;
    // The object that has the new name by now may be the one that was moved: it must not be taken for what is to be replaced.
    if (replay.retransmitted && (await this.#isRenamed(from, to, replay, caller))) return;
    await this.#complete(this.#vfs.dentries.heldAs(parent, name), caller);
    let moved = this.#vfs.dentries.get(parent, name)?.inode;
    if (moved?.silly !== undefined && !(await this.#survives(moved, from, caller)))
      throw new FuseError(Errno.EBUSY, 'the file is open and has no other name');
    const replaced = await this.#openFileNamed(newParent, newName, caller);
    if (replaced !== undefined) moved ??= (await this.#lookup.find(parent, name, caller))?.inode;
    await this.#complete(moved, caller);
    // Two names of one file: rename(2) does nothing.
    const displaced =
      replaced === undefined || replaced === moved || (await this.#survives(replaced, to, caller))
        ? undefined
        : replaced;
    if (displaced === undefined) {
      await this.#rename({ from, to, moved }, replay, caller);
      return;
    }
    // A last close meanwhile must not remove a file that gets its name back.
    this.#silly.hold(displaced);
    try {
      await this.#silly.takeAway(newParent, newName, displaced, caller, true);
      try {
        await this.#rename({ from, to, moved }, replay, caller);
        this.#silly.hasReplaced(displaced);
      } catch (error) {
        await this.#silly.giveBack(newParent, newName, displaced, caller);
        throw error;
      }
    } finally {
      this.#silly.drop(displaced);
    }
  }

  /** Under its new name a file has to be found as it was made. */
  async #complete(moved: Inode | undefined, { cancellation }: Caller): Promise<void> {
    if (moved?.writer?.setsLater) await interruptible(moved.writer.drain(), cancellation);
  }

  /** Whether an earlier process has sent the RENAME, and the server has carried it out. */
  async #isRenamed(from: DentryKey, to: DentryKey, replay: Replay, caller: Caller): Promise<boolean> {
    const source = this.#vfs.dentries.getUnverified(from.parent, from.name)?.inode;
    const present = await this.#find(from.parent, from.name, caller);
    // Somebody else may have made another file of that name since, which must not replace ours.
    if (present !== undefined && (source === undefined || present === source)) return false;
    return (await this.#echoOfRename(Status.NOENT, to, source, replay, caller)) !== undefined;
  }

  async #rename({ from, to, moved: known }: Renaming, replay: Replay, caller: Caller): Promise<void> {
    const { attributes, redriver, dentries } = this.#vfs;
    const target = dentries.getUnverified(to.parent, to.name)?.inode;
    await interruptible(this.#silly.settle(to.parent, to.name), caller.cancellation);
    // Where the directory has changed since, what the name stood for is no certainty, but it tells our own echo.
    const source = known ?? dentries.getUnverified(from.parent, from.name)?.inode;
    const touched = [known, target].filter((inode) => inode !== undefined);
    for (const inode of touched) attributes.expectCtime(inode);
    const result = await this.#sendRename(from, to, replay, caller);
    let moved = known;
    if (result.status !== Status.OK) {
      const echo = await this.#echoOfRename(result.status, to, source, replay, caller);
      if (echo === undefined) {
        for (const inode of touched) attributes.expectNoCtime(inode);
        replay.changedNothing();
        throw redriver.reportFailure(result, [from.parent, to.parent], caller);
      }
      moved = echo;
    }
    // Two names of one file: nothing was renamed.
    if (moved === target && moved !== undefined) return;
    dentries.set(from.parent, from.name, undefined, from.parent.generation);
    if (moved === undefined) dentries.kernelMoved(from, to, source ?? this.#vfs.inodes.root);
    else {
      dentries.set(to.parent, to.name, moved, to.parent.generation);
      // Its ctime moved, and by whom is plain.
      attributes.expire(moved);
    }
    if (target !== undefined) this.#linkGone(target);
  }

  /** RENAME; whatever comes of it, what the two names stand for is not known any more. */
  async #sendRename(
    { parent, name }: DentryKey,
    to: DentryKey,
    replay: Replay,
    caller: Caller,
  ): Promise<RenameResult> {
    const { exchange, nfs, dentries } = this.#vfs;
    try {
      const { result } = await exchange.changeTwo(
        { first: parent, second: to.parent },
        caller,
        (directory, newDirectory) => {
          const args = { from: { directory, name }, to: { directory: newDirectory, name: to.name } };
          return nfs.call(RENAME, args, caller, replay.onRetransmit);
        },
        [
          [parent, ({ fromWcc }) => fromWcc],
          [to.parent, ({ toWcc }) => toWcc],
        ],
      );
      return result;
    } finally {
      dentries.delete(parent, name);
      dentries.delete(to.parent, to.name);
    }
  }

  /** The inode that was moved, if the failure is only the echo of a RENAME of ours whose reply got lost. */
  async #echoOfRename(
    status: Status,
    to: DentryKey,
    source: Inode | undefined,
    replay: Replay,
    caller: Caller,
  ): Promise<Inode | undefined> {
    if (status !== Status.NOENT || !replay.retransmitted) return undefined;
    const found = await this.#lookup.find(to.parent, to.name, caller);
    if (found === undefined) return undefined;
    const isOurs = source ? found.inode === source : replay.mayHaveMade(found.attributes);
    return isOurs ? found.inode : undefined;
  }
}
