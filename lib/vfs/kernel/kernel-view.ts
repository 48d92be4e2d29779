/**
 * The record of what the kernel was told of the objects and names of this mount. It also tells the kernel when that is
 * outdated. Owns Inode.told and Inode.kernelTrustsUntil.
 *
 * The kernel believes attributes and names for as long as it was told, and a file's size decides where its reads end
 * and where its appends begin. So each picture that goes to the kernel is remembered, and the first newer one that
 * arrives by another way makes the kernel ask again.
 */

import { atMost, type Clock } from '../../base/clock.js';
import type { FuseNotifier, KnownEntry } from '../../fuse/contract/operations.js';
import {
  compareTime,
  type Fattr3,
  type FileName,
  fileNameToBytes,
  sameTime,
} from '../../programs/nfs3/index.js';
import type { Dentry, DentryCache } from '../cache/dentry-cache.js';
import type { Inode } from '../cache/inode.js';
import { samePicture } from '../cache/picture.js';
import type { Caller } from '../caller/caller.js';
import type { ReachedBy } from '../remote/redrive.js';

/** The connection is not up yet: there is nobody to tell. */
const SILENT: FuseNotifier = {
  invalidateAttributes: () => true,
  invalidatePages: () => Promise.resolve(),
  invalidateEntry: () => Promise.resolve(),
  expireEntries: () => Promise.resolve(),
  expiresEntries: true,
};

/** How long a kernel may trust a name that cannot be taken back: then it asks again, and is answered from memory. */
const UNEXPIRED_MS = 1_000;
/** The time in which a notification gets to the lock that it waits for: then it is next when a lookup lets go of it. */
export const HEAD_START_MS = 3;
/** The longest time that a request waits for notifications that a lock in the kernel may keep waiting. */
const PATIENCE_MS = 100;

export class KernelView {
  notifier: FuseNotifier = SILENT;
  readonly #clock: Clock;
  readonly #dentries: DentryCache;
  /** Attributes that came with data for the kernel along with an open, and until when they serve the next fstat(2). */
  readonly #alongWithRead = new WeakMap<Inode, { readonly attributes: Fattr3; readonly until: number }>();
  /** How many requests for the attributes of an inode are being answered. */
  readonly #answering = new Map<Inode, number>();
  /** Files whose pages are being dropped. */
  readonly #dropping = new Map<Inode, Promise<void>>();
  /** Notifications of changed names that the kernel has not taken yet. */
  #expiring: Promise<void> | undefined = undefined;

  constructor(clock: Clock, dentries: DentryCache) {
    this.#clock = clock;
    this.#dentries = dentries;
  }

  /** The attributes as programs are to see them: with what this mount has not written yet, less a silly name. */
  static shown(inode: Inode, known: Fattr3): Fattr3 {
    const attributes = inode.writer?.attributesWith(known) ?? known;
    const size = inode.writer?.sizeWith(attributes.size) ?? attributes.size;
    const nlink = inode.silly === undefined ? attributes.nlink : Math.max(0, attributes.nlink - 1);
    return size === attributes.size && nlink === attributes.nlink
      ? attributes
      : { ...attributes, size, nlink };
  }

  /** `shown` goes to the kernel, which may believe it for `validMs` milliseconds. */
  tells(inode: Inode, shown: Fattr3, validMs: number): void {
    inode.told = shown;
    inode.kernelTrustsUntil = this.#clock.now() + validMs;
  }

  /**
   * The kernel is about to drop attributes by itself, because of what it asked for: after reads and writes, and after
   * changes of a directory or of a name (fuse_invalidate_attr_mask and its callers).
   */
  doubts(inode: Inode): void {
    inode.kernelTrustsUntil = 0;
  }

  /**
   * The kernel was given data that came with these attributes: until then they are the server's word about the time of
   * access, should nothing newer be known.
   */
  readAlong(inode: Inode, attributes: Fattr3, until: number): void {
    this.#alongWithRead.set(inode, { attributes, until });
  }

  #hasReadAlong(inode: Inode, known: Fattr3): boolean {
    const along = this.#alongWithRead.get(inode);
    if (along === undefined || this.#clock.now() > along.until) return false;
    return samePicture(along.attributes, known) && compareTime(known.atime, along.attributes.atime) >= 0;
  }

  /**
   * Whether the kernel asks for attributes that it could have answered for itself (its trust never ends before ours: it
   * rounds times up to ticks, and counts from the reply's arrival): it is about to refuse the caller
   * (fuse_permission), or a program wants the server's word (AT_STATX_FORCE_SYNC). After a read or write it also has a
   * reason of its own to ask, and does not say which it is: the server is asked then, as Linux's NFS client asks for the
   * time of access after a read (nfs_getattr).
   */
  insists(inode: Inode, caller: Caller): boolean {
    const { told, attributes, kernelTrustsUntil } = inode;
    if (told === undefined || attributes === undefined) return false;
    if (kernelTrustsUntil > 0) return this.#clock.now() < kernelTrustsUntil;
    // Most listings come from memory, after which Linux's client would not ask either.
    if (inode.isDirectory) return mayBeRefused(attributes, caller);
    return !this.#hasReadAlong(inode, attributes);
  }

  /**
   * Runs a request whose reply brings the inode's attributes to the kernel. A change seen meanwhile is no reason for a
   * notification: the kernel would take the reply for older than that, and ignore it.
   */
  async answer<Reply>(inode: Inode, request: () => Promise<Reply>): Promise<Reply> {
    this.#answering.set(inode, (this.#answering.get(inode) ?? 0) + 1);
    try {
      const reply = await request();
      const dropped = this.#dropping.get(inode);
      if (dropped !== undefined) await atMost(this.#clock, PATIENCE_MS, dropped);
      return reply;
    } finally {
      const others = (this.#answering.get(inode) ?? 1) - 1;
      if (others === 0) this.#answering.delete(inode);
      else this.#answering.set(inode, others);
    }
  }

  /**
   * Another client changed the file, which looked like `before`: pages that the kernel holds are dropped. Resolves with
   * true when that is done; with false where the next open(2) has to do it.
   *
   * The kernel ignores the attributes of a reply that it was sent a notification after. So while a reply with them is
   * due, there is none: a new size makes the kernel drop the pages by itself (fuse_change_attributes), and a new ctime
   * alone is a matter of names and modes. New data of the same size is worth more than the attributes, for which
   * the kernel then asks once more.
   */
  async dropPages(inode: Inode, before: Fattr3): Promise<boolean> {
    const { attributes } = inode;
    if (this.#answering.has(inode) && attributes !== undefined)
      if (attributes.size !== before.size || sameTime(attributes.mtime, before.mtime)) return false;
    const dropped = this.notifier.invalidatePages(inode.nodeid, 0, 0);
    this.#dropping.set(inode, dropped);
    await dropped;
    if (this.#dropping.get(inode) === dropped) this.#dropping.delete(inode);
    return true;
  }

  /** A reply brought attributes that the kernel did not ask for: it drops its own, if they look different. */
  refresh(inode: Inode): void {
    if (!this.#answering.has(inode)) this.refreshNow(inode);
  }

  /** As {@link refresh}, also where another request for the attributes is being answered: before open(2) returns. */
  refreshNow(inode: Inode): void {
    const { told, attributes } = inode;
    if (told === undefined || attributes === undefined) return;
    if (!samePicture(told, KernelView.shown(inode, attributes))) this.forget(inode);
  }

  /** Whatever the kernel knows of the inode's attributes, it asks for them before their next use. */
  forget(inode: Inode): void {
    this.doubts(inode);
    if (this.notifier.invalidateAttributes(inode.nodeid)) inode.told = undefined;
  }

  /** How long the kernel may believe a name that is trusted for `trustedMs` milliseconds. */
  entryValidity(trustedMs: number, positive: boolean): number {
    const forGood = !positive || this.notifier.expiresEntries;
    return forGood ? trustedMs : Math.min(trustedMs, UNEXPIRED_MS);
  }

  /** The kernel is told what a name stands for, and may believe it for `validMs` milliseconds. Undefined: nothing. */
  tellsName(parent: Inode, name: FileName, inode: Inode | undefined, validMs: number): void {
    this.#dentries.told(parent, name, this.#clock.now() + validMs, inode);
  }

  /** As {@link tellsName}, of a dentry that is at hand. */
  tellsDentry(dentry: Dentry, validMs: number): void {
    dentry.kernelTrustsUntil = this.#clock.now() + validMs;
  }

  /**
   * How a request that names no descriptor came to its object, although one may be behind it (fstat, fchdir, fstatfs). While
   * the kernel need not ask for the name of the inode, a path may have led to it: then the first failure makes the
   * kernel look the path up again. A descriptor sees that failure once, as it does with Linux's NFS client.
   */
  reachedBy(inode: Inode): ReachedBy {
    if (inode.opens === 0) return 'path';
    const { parent, name } = inode;
    const dentry = parent && this.#dentries.getUnverified(parent, name);
    const trusted = dentry?.inode === inode && this.#clock.now() < dentry.kernelTrustsUntil;
    return trusted ? 'path' : 'object';
  }

  /**
   * Whether the kernel asks for a name that it was told and need not ask for: a program must not go by what is
   * remembered (LOOKUP_EXCL, LOOKUP_REVAL, LOOKUP_RENAME_TARGET in fuse_dentry_revalidate).
   */
  insistsOnName({ inode, kernelTrustsUntil }: Dentry): boolean {
    return inode !== undefined && inode.nlookup > 0 && this.#clock.now() < kernelTrustsUntil;
  }

  /** Another client has changed `directory`: names in it may mean something else than the kernel was told. */
  namesChanged(directory: Inode): void {
    this.#expire(directory, this.#dentries.takeTrusted(directory, this.#clock.now()));
  }

  /** The last known name of `inode` does not lead to it any more. */
  nameGone({ parent, name }: Inode): void {
    if (parent === undefined) return;
    this.#dentries.told(parent, name, 0);
    void this.notifier.invalidateEntry(parent.nodeid, fileNameToBytes(name));
  }

  /** The last known name of `inode` may stand for another object. */
  nameDoubted({ parent, name }: Inode): void {
    if (parent === undefined) return;
    this.#dentries.told(parent, name, 0);
    this.#expire(parent, [{ name: fileNameToBytes(name), exists: true }]);
  }

  #expire(directory: Inode, entries: readonly KnownEntry[]): void {
    if (entries.length === 0) return;
    const done = this.notifier.expireEntries(directory.nodeid, entries);
    const all = Promise.all([this.#expiring, done]).then(() => {
      if (this.#expiring === all) this.#expiring = undefined;
    });
    this.#expiring = all;
  }

  /**
   * Resolves once the kernel has taken what it was told of changed names, and of the pages of `inode`, or after so many
   * milliseconds. Undefined: it has.
   *
   * A program acts on the answer to its call. Names that lead elsewhere must be forgotten by then. And a question for
   * attributes must not be under way with a notification: the kernel ignores the answer, and lseek(2) to the end or an
   * append goes by the old size.
   *
   * Requests wait for it that hold no lock in the kernel which a notification may need: open(2), opendir(3), access(2),
   * readlink(2), close(2) and fsync(2). A lookup may hold the very lock that a notification waits for, and gives it no more
   * than {@link HEAD_START_MS}. Reads and writes hold pages, and do not wait.
   */
  notified(inode?: Inode, milliseconds = PATIENCE_MS): Promise<void> | undefined {
    const pages = inode && this.#dropping.get(inode);
    if (this.#expiring === undefined && pages === undefined) return undefined;
    return atMost(this.#clock, milliseconds, Promise.all([this.#expiring, pages]));
  }

  /**
   * As {@link notified}, of the pages of all files, and for no longer than {@link HEAD_START_MS}: for readdir(3), which
   * shows many files, and holds the lock that notifications of names need.
   */
  pagesDropped(): Promise<void> | undefined {
    if (this.#dropping.size === 0) return undefined;
    return atMost(this.#clock, HEAD_START_MS, Promise.all(this.#dropping.values()));
  }
}

/** Whether the mode bits of a directory leave the caller something that the kernel would refuse. */
function mayBeRefused({ mode, uid: owner, gid: group }: Fattr3, { credential, claim }: Caller): boolean {
  // The server takes the caller for another than the kernel does.
  if (claim !== undefined) return true;
  const { uid, gid, groups } = credential;
  if (uid === 0) return false;
  const bits = uid === owner ? mode >> 6 : gid === group || groups.includes(group) ? mode >> 3 : mode;
  return (bits & 0o7) !== 0o7;
}
