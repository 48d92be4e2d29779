/**
 * Silly rename: a file that is open through this mount and loses its name gets another one, `.nfsXXXX`, until
 * it is closed, because NFSv3 servers know no open files (RFC 1813 3.3.12; Linux fs/nfs/unlink.c).
 *
 * Order of events that it guards: a last close while the RENAME is under way (the name goes right after), an
 * open while the REMOVE is under way (the open waits and then fails as for any removed file), rmdir while
 * REMOVEs are under way in the directory (rmdir waits), and so do listings.
 */

import type { Clock } from '../../base/clock.js';
import type { Logger } from '../../base/log.js';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import {
  type FileHandle,
  type FileName,
  fileNameFromText,
  LOOKUP,
  type LookupResult,
  REMOVE,
  RENAME,
  type RenameResult,
  Status,
  statusName,
  type WccResult,
} from '../../programs/nfs3/index.js';
import type { AttributeCache } from '../cache/attribute-cache.js';
import type { DentryCache } from '../cache/dentry-cache.js';
import { describePath, type Inode, type SillyName } from '../cache/inode.js';
import type { OpenObjects } from '../cache/open-objects.js';
import { type Caller, unattended } from '../caller/caller.js';
import type { VfsCounters } from '../counters.js';
import type { Exchange } from '../remote/exchange.js';
import { ofDirectory } from '../remote/exchange.js';
import type { NfsClient } from '../remote/nfs-client.js';
import { pause } from '../remote/nfs-client.js';
import type { Redriver } from '../remote/redrive.js';
import { isStale } from '../remote/status-errno.js';

/** The parts of the mount that this needs. */
export interface SillyRenamesNeeds {
  readonly attributes: AttributeCache;
  readonly clock: Clock;
  readonly counters: VfsCounters;
  readonly dentries: DentryCache;
  readonly exchange: Exchange;
  readonly log: Logger;
  readonly nfs: NfsClient;
  readonly open: OpenObjects;
  readonly redriver: Redriver;
  readonly records: { readonly silly: SillyRecords } | undefined;
}

/** Records of files without a name, for the next process of this mount, should there be one. */
export interface SillyRecords {
  /** The RENAME to this name is about to be sent. `former`: the name that another file is to get then. */
  begins(inode: Inode, silly: SillyName, former: FileName | undefined): void;
  /** The file has its silly name. */
  renamed(inode: Inode): void;
  /** Another file has the former name, with which it was begun: the silly one stays. */
  settled(inode: Inode): void;
  /** The file has none, or none any more. */
  ends(inode: Inode): void;
}

export const SILLY_PREFIX = '.nfs';
const FILEID_DIGITS = 16;
const COUNTER_DIGITS = 8;
/** Names taken by somebody else that are stepped over before giving up. */
const MAX_TAKEN = 1_000;
const REMOVE_TRIES = 5;
const REMOVE_RETRY_MS = 500;

/** `.nfs`, the fileid and a counter in hex, as the Linux client names them. */
export function sillyName(fileid: bigint, counter: number): FileName {
  const digits = fileid.toString(16).padStart(FILEID_DIGITS, '0');
  return fileNameFromText(SILLY_PREFIX + digits + counter.toString(16).padStart(COUNTER_DIGITS, '0'));
}

export function isSillyName(name: string): boolean {
  return /^\.nfs[0-9a-f]{24}$/.test(name);
}

export class SillyRenames {
  readonly #vfs: SillyRenamesNeeds;
  #counter = 0;
  /** Inodes that have a silly name, or are having it removed. */
  readonly #pending = new Set<Inode>();
  /** Inodes that are being given one. */
  readonly #taking = new Map<Inode, Promise<void>>();
  /** Inodes whose silly name is being removed, until that was tried once. */
  readonly #trying = new Map<Inode, Promise<void>>();

  constructor(vfs: SillyRenamesNeeds) {
    this.#vfs = vfs;
  }

  /** Files that wait for their last close. */
  get pending(): number {
    return this.#pending.size;
  }

  /**
   * Takes `name` in `parent` away from the open file `inode`. Throws EBUSY when no free name can be found or
   * the file already lost its name: better that than to delete a file in use. `isToBeReplaced`: another file is to get the name,
   * and until {@link hasReplaced} a process that goes on with this mount gives it back.
   */
  async takeAway(
    parent: Inode,
    name: FileName,
    inode: Inode,
    caller: Caller,
    isToBeReplaced = false,
  ): Promise<void> {
    if (inode.silly !== undefined) throw new FuseError(Errno.EBUSY, 'the file is open and has no other name');
    const taking = this.#takeAway(parent, name, inode, caller, isToBeReplaced ? name : undefined);
    this.#taking.set(inode, taking);
    try {
      await taking;
    } finally {
      this.#taking.delete(inode);
    }
  }

  /** Whether the file goes on under its silly name when it loses this one, which is another of its names. */
  async survives(inode: Inode, parent: Inode, name: FileName): Promise<boolean> {
    for (let taking = this.#taking.get(inode); taking !== undefined; taking = this.#taking.get(inode)) {
      await taking.catch(() => {});
    }
    const { silly } = inode;
    return silly !== undefined && !(silly.directory === parent && silly.name === name);
  }

  /** Another file has the name that was taken away from this one. */
  hasReplaced(inode: Inode): void {
    this.#vfs.records?.silly.settled(inode);
  }

  async #takeAway(
    parent: Inode,
    name: FileName,
    inode: Inode,
    caller: Caller,
    former: FileName | undefined,
  ): Promise<void> {
    const vfs = this.#vfs;
    const silly = await this.#freeName(parent, inode, caller);
    const { credential } = caller;
    vfs.attributes.expectCtime(inode);
    vfs.records?.silly.begins(inode, { directory: parent, name: silly, credential }, former);
    const result = await this.renameWithin(parent, name, silly, caller);
    // NFS3ERR_NOENT may be the echo of our own repeated call: then the file is under its new name.
    if (result.status !== Status.OK && !(await this.#leadsTo(parent, silly, inode, caller))) {
      vfs.attributes.expectNoCtime(inode);
      vfs.records?.silly.ends(inode);
      throw vfs.redriver.reportFailure(result, [parent], caller);
    }
    vfs.dentries.delete(parent, name);
    vfs.dentries.set(parent, name, undefined, parent.generation);
    vfs.dentries.set(parent, silly, inode, parent.generation);
    this.#has(inode, { directory: parent, name: silly, credential });
    vfs.counters.sillyRenames++;
    // The last close may have come while the RENAME was on its way.
    if (inode.opens === 0) void this.finish(inode);
  }

  #has(inode: Inode, silly: SillyName): void {
    inode.silly = silly;
    this.#pending.add(inode);
    this.#vfs.records?.silly.renamed(inode);
  }

  /**
   * Takes up a silly name that an earlier process of this mount has given, or was about to give (`isRenamed` false). A file that
   * is not open any more loses it. `former`: the name that it had, and that a rename(2) may not have given to another file before
   * the process died. If the kernel repeats that, it is carried out anew. Never rejects.
   */
  async takeUp(
    inode: Inode,
    silly: SillyName,
    isRenamed: boolean,
    former: FileName | undefined,
  ): Promise<void> {
    const caller = unattended(silly.credential);
    const { directory, name } = silly;
    const is = isRenamed || (await this.#leadsTo(directory, name, inode, caller).catch(() => false));
    if (!is) {
      this.#vfs.records?.silly.ends(inode);
      return;
    }
    this.#has(inode, silly);
    if (former === undefined) {
      if (inode.opens === 0) void this.finish(inode);
      return;
    }
    this.hold(inode);
    await this.giveBack(directory, former, inode, caller);
    if (inode.silly !== undefined) this.hasReplaced(inode);
    this.drop(inode);
  }

  async #leadsTo(parent: Inode, name: FileName, inode: Inode, caller: Caller): Promise<boolean> {
    const where = { directory: parent.handle, name };
    const found = await this.#vfs.nfs.call(LOOKUP, where, caller);
    return found.status === Status.OK && found.object === inode.handle;
  }

  /**
   * Gives the name back, after the operation that needed it failed. Never rejects, and never takes the name from a file
   * that has it by now: the operation may have succeeded although its caller saw it fail. A file that cannot get its
   * name back keeps the silly one for good, and the log says so: its last close must not remove what rename(2) has not
   * replaced.
   */
  async giveBack(parent: Inode, name: FileName, inode: Inode, caller: Caller): Promise<void> {
    const { silly } = inode;
    if (silly === undefined) return;
    const { attributes, dentries, log } = this.#vfs;
    const patient = unattended(caller.credential);
    let reason: string;
    try {
      const present = await this.#lookUp(parent, name, patient);
      if (present.status === Status.OK) return;
      attributes.expectCtime(inode);
      const result = await this.renameWithin(parent, silly.name, name, patient);
      if (result.status === Status.OK) {
        this.#dropSilly(inode);
        dentries.delete(parent, silly.name);
        dentries.set(parent, name, inode, parent.generation);
        return;
      }
      attributes.expectNoCtime(inode);
      reason = statusName(result.status);
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
    this.#dropSilly(inode);
    const kept = `${describePath(parent)}/${silly.name}`;
    log.error(`${kept}: a rename failed, and the file that it was to replace keeps this name (${reason})`);
  }

  /** The file has no silly name any more. */
  #dropSilly(inode: Inode): void {
    inode.silly = undefined;
    this.#pending.delete(inode);
    this.#vfs.records?.silly.ends(inode);
  }

  /** Keeps the file open while it may have to get its name back: see {@link drop}. */
  hold(inode: Inode): void {
    this.#vfs.open.open(inode);
  }

  drop(inode: Inode): void {
    this.#vfs.open.close(inode, () => this.finish(inode));
  }

  async #freeName(parent: Inode, inode: Inode, caller: Caller): Promise<FileName> {
    const vfs = this.#vfs;
    const fileid = inode.attributes?.fileid ?? BigInt(inode.nodeid);
    for (let taken = 0; taken < MAX_TAKEN; taken++) {
      this.#counter = (this.#counter + 1) >>> 0;
      const candidate = sillyName(fileid, this.#counter);
      const result = await this.#lookUp(parent, candidate, caller);
      if (result.status === Status.NOENT) return candidate;
      if (isStale(result.status)) throw vfs.redriver.reportFailure(result, [parent], caller);
      if (result.status !== Status.OK) break;
    }
    throw new FuseError(Errno.EBUSY, 'no free name for an open file that is to lose its own');
  }

  /** RENAME within one directory, with its bookkeeping. */
  async renameWithin(parent: Inode, from: FileName, to: FileName, caller: Caller): Promise<RenameResult> {
    const { exchange, nfs, dentries } = this.#vfs;
    const call = (directory: FileHandle): Promise<RenameResult> =>
      nfs.call(RENAME, { from: { directory, name: from }, to: { directory, name: to } }, caller);
    try {
      return (await exchange.change(parent, caller, call, ({ fromWcc }) => fromWcc)).result;
    } catch (error) {
      // Nobody knows whether it happened.
      dentries.delete(parent, from);
      dentries.delete(parent, to);
      throw error;
    }
  }

  async #lookUp(parent: Inode, name: FileName, caller: Caller): Promise<LookupResult> {
    const { exchange, nfs } = this.#vfs;
    const call = (directory: FileHandle): Promise<LookupResult> =>
      nfs.call(LOOKUP, { directory, name }, caller);
    return (await exchange.ask(parent, caller, call, ofDirectory)).result;
  }

  /** The file was closed for the last time: its silly name goes. Never rejects. */
  finish(inode: Inode): Promise<void> {
    const { silly } = inode;
    if (silly === undefined) return Promise.resolve();
    inode.removing ??= this.#removeOnceAndAgain(inode, silly);
    return inode.removing;
  }

  async #removeOnceAndAgain(inode: Inode, silly: SillyName): Promise<void> {
    let tried = (): void => {};
    this.#trying.set(inode, new Promise((resolve) => (tried = resolve)));
    const wasTried = (): void => {
      this.#trying.delete(inode);
      tried();
    };
    try {
      await this.#remove(inode, silly, wasTried);
    } finally {
      inode.removing = undefined;
      this.#dropSilly(inode);
      wasTried();
    }
  }

  /** `wasTried` is called when it did not go at once, and is to be tried again. */
  async #remove(inode: Inode, silly: SillyName, wasTried: () => void): Promise<void> {
    const { attributes, exchange, nfs, dentries, counters, clock, log } = this.#vfs;
    const caller = unattended(silly.credential);
    const { name } = silly;
    let reason = '';
    for (let attempt = 1; attempt <= REMOVE_TRIES; attempt++) {
      const { directory } = silly;
      try {
        const present = await this.#lookUp(directory, name, caller);
        // Gone with its directory, removed by somebody else, or another file by now: not ours to remove.
        if (present.status === Status.NOENT || isStale(present.status)) return;
        if (present.status === Status.OK && !this.#isOurs(inode, directory, present)) return;
        const call = (handle: FileHandle): Promise<WccResult> =>
          nfs.call(REMOVE, { directory: handle, name }, caller);
        const { result } = await exchange.change(directory, caller, call, ({ wcc }) => wcc);
        if (result.status === Status.OK || result.status === Status.NOENT) {
          dentries.set(directory, silly.name, undefined, directory.generation);
          // The silly name counted among its links; with another one the file lives on.
          if ((inode.attributes?.nlink ?? 1) <= 1) inode.markStale();
          attributes.expire(inode);
          counters.sillyRemoves++;
          return;
        }
        reason = statusName(result.status);
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
      }
      wasTried();
      await pause(clock, REMOVE_RETRY_MS * attempt, undefined);
    }
    counters.sillyRemovesFailed++;
    log.warn(
      `${describePath(silly.directory)}/${silly.name}: left behind, it could not be removed (${reason})`,
    );
  }

  /** By its handle, which may be another one since the server was restarted. */
  #isOurs(inode: Inode, directory: Inode, present: LookupResult & { status: 0 }): boolean {
    const { object, attributes } = present;
    if (object === inode.handle) return true;
    return attributes !== undefined && this.#vfs.redriver.isSameObject(inode, directory, object, attributes);
  }

  /** Waits for the REMOVEs under way in the directory of this name, so that rmdir finds it empty. */
  async settle(parent: Inode, name: FileName): Promise<void> {
    for (const { silly, removing } of [...this.#pending]) {
      if (silly?.directory.parent === parent && silly.directory.name === name) await removing;
    }
  }

  /**
   * Waits for the REMOVEs under way in `directory`, so that a listing does not show what a close(2) that has returned
   * takes away. Later attempts after a failure are not waited for.
   */
  async settleWithin(directory: Inode): Promise<void> {
    for (const [{ silly }, tried] of [...this.#trying]) if (silly?.directory === directory) await tried;
  }

  /** The mount ends: every silly name goes, open or not. */
  async finishAll(): Promise<void> {
    await Promise.all([...this.#pending].map((inode) => this.finish(inode)));
  }
}
