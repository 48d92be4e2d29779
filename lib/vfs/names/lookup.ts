/** Finding a name: lookup, and what a call that made one left untold. */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../base/clock.js';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { CreationIntents, EntryReply, NegativeEntryReply } from '../../fuse/contract/operations.js';
import {
  type Fattr3,
  type FileHandle,
  type FileName,
  FileType,
  isDots,
  LOOKUP,
  Status,
} from '../../programs/nfs3/index.js';
import type { ClaimedRightsNeeds } from '../access/claimed-rights.js';
import { maySearch } from '../access/claimed-rights.js';
import type { CurrentAttributes } from '../attributes/current-attributes.js';
import type { AttributeCache } from '../cache/attribute-cache.js';
import type { DentryCache, DentryKey } from '../cache/dentry-cache.js';
import type { Inode } from '../cache/inode.js';
import type { Caller } from '../caller/caller.js';
import type { ClientConfig } from '../config.js';
import type { VfsCounters } from '../counters.js';
import type { KernelReplies } from '../kernel/kernel-replies.js';
import type { KernelView } from '../kernel/kernel-view.js';
import { HEAD_START_MS } from '../kernel/kernel-view.js';
import type { Exchange } from '../remote/exchange.js';
import { ofDirectory } from '../remote/exchange.js';
import type { NfsClient } from '../remote/nfs-client.js';
import type { Redriver } from '../remote/redrive.js';
import { isStale, statusError } from '../remote/status-errno.js';
import type { Binding, NamedObject } from './name-binding.js';
import { SparedLookups } from './spared-lookups.js';
import type { SymbolicLinkNeeds } from './symbolic-link.js';
import { readTarget, stepsOf } from './symbolic-link.js';

/** The parts of the mount that this needs. */
export interface LookupNeeds extends ClaimedRightsNeeds, SymbolicLinkNeeds {
  readonly attributes: AttributeCache;
  readonly binding: Binding;
  readonly clock: Clock;
  readonly config: ClientConfig;
  readonly counters: VfsCounters;
  readonly current: CurrentAttributes;
  readonly dentries: DentryCache;
  readonly exchange: Exchange;
  readonly kernel: KernelView;
  readonly nfs: NfsClient;
  readonly redriver: Redriver;
  readonly replies: KernelReplies;
}

/** The meaning of a name, and how long the kernel may believe it. */
export interface Found {
  readonly inode: Inode;
  readonly attributes: Fattr3;
  readonly entryValidMs: number;
}

/** A name as a reply describes it, which may leave out the handle. */
export interface NameReply extends Omit<NamedObject, 'handle'> {
  readonly handle: FileHandle | undefined;
}

/** Hears of each name that the server was asked for because the kernel asked. */
export interface LookupListener {
  note(directory: Inode, caller: Caller): void;
}

const MAX_SENT_BACK = 256;

export class Lookup {
  readonly #vfs: LookupNeeds;
  readonly #asked: LookupListener;
  /** Threads whose call the kernel was made to repeat by {@link confirm}. */
  readonly #sentBack = new LRUCache<number, Inode>({ max: MAX_SENT_BACK });
  readonly #spared: SparedLookups;

  constructor(vfs: LookupNeeds, asked: LookupListener, intents?: CreationIntents) {
    this.#vfs = vfs;
    this.#asked = asked;
    this.#spared = new SparedLookups(vfs, intents);
  }

  /** The answer to the kernel that asks for a name. @throws FuseError */
  async entry(parent: Inode, name: FileName, caller: Caller): Promise<EntryReply | NegativeEntryReply> {
    const vfs = this.#vfs;
    if (isDots(name)) return this.#lookupDots(parent, name, caller);
    if (caller.claim !== undefined) await maySearch(vfs, parent, caller);
    const cached = this.#fromCache(parent, name);
    if (cached !== undefined) return cached;
    // Of no time, so that nobody else goes by it.
    if (await this.#spared.isSpared(parent, name, caller)) return { nodeid: 0, entryValidMs: 0 };
    const generation = parent.generation;
    const began = vfs.clock.now();
    const found = await this.#findForKernel(parent, name, caller);
    this.#spared.lookupTook(vfs.clock.now() - began);
    // This lookup may have shown that other names mean something else by now: its caller may look at them next.
    await vfs.kernel.notified(undefined, HEAD_START_MS);
    if (found === undefined) return vfs.replies.absent(parent, name, generation);
    this.#asked.note(parent, caller);
    return vfs.replies.handOver(parent, name, found.inode, found.attributes, found.entryValidMs);
  }

  /**
   * As {@link find}, for a reply that brings the attributes of what is found to the kernel. It mostly is what the name last
   * stood for, of which no notification may overtake the reply.
   */
  async #findForKernel(parent: Inode, name: FileName, caller: Caller): Promise<Found | undefined> {
    const { dentries, kernel } = this.#vfs;
    const known = dentries.getUnverified(parent, name)?.inode;
    if (known === undefined) return this.find(parent, name, caller);
    const found = await kernel.answer(known, () => this.find(parent, name, caller));
    if (found?.inode !== known) kernel.refresh(known);
    return found;
  }

  /** Asks the server for a name; undefined: there is no such name. */
  async find(parent: Inode, name: FileName, caller: Caller): Promise<Found | undefined> {
    const result = parent.gone ? undefined : await this.#ask(parent, name, caller);
    return result === undefined ? this.#findInSuccessor(parent, name, caller) : result.found;
  }

  /**
   * The error for a name that the server has not made, for another reason than that it is there already. As with the lookup that
   * was not sent for it, a name that is there is told as such.
   */
  async whyNotMade(
    { parent, name }: DentryKey,
    { status }: { readonly status: Status },
    caller: Caller,
  ): Promise<FuseError | undefined> {
    if (status === Status.EXIST || status === Status.NOTSUPP || isStale(status)) return undefined;
    if (!this.#spared.take(parent, name, caller)) return undefined;
    const found = await this.find(parent, name, caller).catch(() => undefined);
    return found && new FuseError(Errno.EEXIST, 'it is there, and may not be made either');
  }

  /**
   * Asks the server whether the last known name of `inode` still leads to it, after another client seems to have
   * changed its names, and before open(2) is answered.
   * @throws FuseError ESTALE where the name leads elsewhere, or where the file has several names and it is not known
   *   which of them was meant: the kernel then looks the path up again, and repeats the call once. A thread is told so
   *   once for a file; the next time its call goes on.
   */
  async confirm(inode: Inode, caller: Caller): Promise<void> {
    const { parent, name, silly, attributes } = inode;
    if (this.#sentBack.get(caller.tid) === inode) {
      this.#sentBack.delete(caller.tid);
      return;
    }
    if (parent === undefined || name === '' || silly !== undefined) return;
    let meant: Inode | undefined;
    try {
      meant = (await this.find(parent, name, caller))?.inode;
    } catch (error) {
      // The caller may not search that directory: it was another name that he gave.
      if (!(error instanceof FuseError) || error.errno === Errno.EINTR) throw error;
    }
    if (meant === inode && attributes?.nlink === 1) return;
    // Threads that cannot be told apart would end each other's second try.
    if (caller.tid === 0 && meant === inode) return;
    if (caller.tid !== 0) this.#sentBack.set(caller.tid, inode);
    throw new FuseError(Errno.ESTALE, 'another object has the name by now');
  }

  /**
   * A name in a directory that is no longer there. ESTALE is no answer to a lookup: for mkdir(2), symlink(2),
   * mknod(2) and link(2) the kernel does not repeat it. So the name is looked up in the directory that the path
   * leads to now; a change that follows names the old directory, gets ESTALE, and is repeated from the root. Only
   * where a descriptor of the old directory may be behind it, nothing of the new one is shown.
   */
  async #findInSuccessor(parent: Inode, name: FileName, caller: Caller): Promise<Found | undefined> {
    const { parent: above, name: ownName } = parent;
    if (!parent.gone || above === undefined) return undefined;
    const successor = (await this.find(above, ownName, caller))?.inode;
    if (successor === undefined) return undefined;
    const isLink = successor.attributes?.type === FileType.LNK;
    const directory = isLink ? await this.#follow(above, successor, caller) : successor;
    // The kernel itself has to follow the link: this makes it look again.
    if (directory === undefined) throw this.#vfs.redriver.reportStale(parent, caller, 'path');
    if (!directory.isDirectory) throw new FuseError(Errno.ENOTDIR, 'the directory has become something else');
    const found = (await this.#ask(directory, name, caller))?.found;
    if (found === undefined || directory === parent) return found;
    if (parent.opens > 0) throw this.#vfs.redriver.reportStale(parent, caller, 'path');
    return { ...found, entryValidMs: 0 };
  }

  /** The object that a link in `from` leads to, if that is within the mount, with no other link on the way. */
  async #follow(from: Inode, link: Inode, caller: Caller): Promise<Inode | undefined> {
    const steps = stepsOf(await readTarget(this.#vfs, link, caller));
    let at: Inode | undefined = steps && from;
    for (const step of steps ?? []) {
      if (at === undefined || !at.isDirectory) return undefined;
      if (step === '.') continue;
      if (step === '..') at = at.parent;
      else at = (await this.find(at, step, caller))?.inode;
    }
    return at?.attributes?.type === FileType.LNK ? undefined : at;
  }

  /** LOOKUP; undefined: the directory's handle is stale, and stays so. */
  async #ask(
    parent: Inode,
    name: FileName,
    caller: Caller,
  ): Promise<{ readonly found: Found | undefined } | undefined> {
    const vfs = this.#vfs;
    const generation = parent.generation;
    const before = vfs.dentries.getUnverified(parent, name);
    const { result, start } = await vfs.exchange.ask(
      parent,
      caller,
      (directory) => vfs.nfs.call(LOOKUP, { directory, name }, caller),
      ofDirectory,
    );
    const now = vfs.dentries.getUnverified(parent, name);
    const handle = result.status === Status.OK ? result.object : undefined;
    if (now !== undefined && now !== before && now.inode?.handle !== handle && !now.inode?.stale) {
      // A change of ours gave the name another meaning meanwhile, and this reply may be from before it.
      return this.#ask(parent, name, caller);
    }
    // The kernel repeats a call that was told ESTALE by looking its names up again: this name leads elsewhere now.
    if (before?.inode !== undefined && before.inode.handle !== handle)
      vfs.redriver.retryEnded(before.inode, caller);
    if (result.status === Status.NOENT) {
      vfs.dentries.set(parent, name, undefined, generation);
      return { found: undefined };
    }
    if (isStale(result.status)) return undefined;
    if (result.status !== Status.OK) throw statusError(result.status);
    return {
      found: await this.complete(
        { parent, name, handle: result.object, attributes: result.attributes, start, generation },
        caller,
      ),
    };
  }

  #fromCache(parent: Inode, name: FileName): EntryReply | NegativeEntryReply | undefined {
    const vfs = this.#vfs;
    const { lookupCache } = vfs.config;
    const dentry = lookupCache === 'none' ? undefined : vfs.dentries.get(parent, name);
    const fresh = vfs.attributes.isFresh(parent);
    if (dentry === undefined || !fresh) {
      vfs.counters.dentries.misses++;
      return undefined;
    }
    const { inode } = dentry;
    if (inode === undefined) {
      if (lookupCache !== 'all') return undefined;
      vfs.counters.negativeDentries.hits++;
      return vfs.replies.absent(parent, name, parent.generation);
    }
    // With its own attributes in doubt, a LOOKUP answers for both at the price of one GETATTR.
    if (inode.attributes === undefined || !vfs.attributes.isFresh(inode)) return undefined;
    if (vfs.kernel.insistsOnName(dentry)) return undefined;
    vfs.counters.dentries.hits++;
    const validMs = vfs.replies.entryValidity(parent, parent.generation, true);
    vfs.kernel.tellsDentry(dentry, validMs);
    return vfs.replies.handOverDentry(inode, inode.attributes, validMs);
  }

  /** For NFS export of this mount (FUSE EXPORT_SUPPORT). Neither name is ever sent to the server. */
  async #lookupDots(inode: Inode, name: FileName, caller: Caller): Promise<EntryReply> {
    const vfs = this.#vfs;
    const target = name === '.' || inode.isRoot ? inode : inode.parent;
    if (target === undefined) throw new FuseError(Errno.ESTALE, 'parent unknown');
    return vfs.replies.handOver(inode, name, target, await vfs.current.fresh(target, caller), 0);
  }

  /**
   * The object of LOOKUP or of a call that made the name, with its dentry set. Completes what the reply left out: RFC 1813
   * lets servers omit the handle and the attributes.
   */
  async complete(reply: NameReply, caller: Caller): Promise<Found> {
    const vfs = this.#vfs;
    const { parent, name, handle, attributes, start, generation } = reply;
    if (handle === undefined) {
      const found = await this.find(parent, name, caller);
      if (found === undefined) throw statusError(Status.NOENT);
      return found;
    }
    const inode = vfs.binding.bind({ parent, name, handle, attributes, start, generation });
    const latest = attributes && (vfs.attributes.latest(inode, attributes, start) ?? inode.attributes);
    const known = latest ?? (await vfs.current.fetch(inode, caller));
    return { inode, attributes: known, entryValidMs: vfs.replies.entryValidity(parent, generation, true) };
  }
}
