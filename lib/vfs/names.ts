/** Finding a name: lookup, and what a call that made one left untold. */
import { Errno, FuseError } from '../fuse/errno.js';
import type { EntryReply, NegativeEntryReply } from '../fuse/operations.js';
import { Access, type Fattr3, type FileHandle, LOOKUP, Status } from '../nfs3/index.js';
import type { CallStart } from './attribute-cache.js';
import type { Caller } from './caller.js';
import { maySearch } from './claimed-rights.js';
import { isStale, statusError } from './errors.js';
import type { Inode } from './inode.js';
import { LookupStorms } from './lookup-storms.js';
import { Permission } from './permission.js';
import type { VfsState } from './vfs-state.js';

/** What a name means, and how long the kernel may believe it. */
export interface Found {
  readonly inode: Inode;
  readonly attributes: Fattr3;
  readonly entryValidMs: number;
}

export class Names {
  readonly #vfs: VfsState;
  readonly #storms: LookupStorms;
  readonly #permission: Permission;

  constructor(vfs: VfsState) {
    this.#vfs = vfs;
    this.#permission = new Permission(vfs);
    this.#storms = new LookupStorms(vfs);
  }

  async lookup(parent: Inode, name: Buffer, caller: Caller): Promise<EntryReply | NegativeEntryReply> {
    const vfs = this.#vfs;
    const key = name.toString('latin1');
    if (key === '.' || key === '..') return this.#lookupDots(parent, key, caller);
    if (caller.claim !== undefined) await maySearch(vfs, parent, caller);
    const cached = this.#fromCache(parent, key);
    if (cached !== undefined) return cached;
    if (this.#seemsAbsent(parent, key)) {
      // Who may not search a directory is not told what it lacks. Asked once, this answers for all names.
      const granted = await this.#permission.granted(parent, caller);
      if ((granted & Access.LOOKUP) !== 0 && this.#seemsAbsent(parent, key)) {
        vfs.counters.negativeDentries.hits++;
        return { nodeid: 0, entryValidMs: vfs.entryValidity(parent, parent.generation, false) };
      }
    }

    const generation = parent.generation;
    this.#storms.note(parent, caller);
    const found = await this.find(parent, name, key, caller);
    if (found === undefined) {
      return { nodeid: 0, entryValidMs: vfs.entryValidity(parent, generation, false) };
    }
    return vfs.entryReply(found.inode, found.attributes, found.entryValidMs);
  }

  /** Asks the server for a name; undefined: there is no such name. */
  async find(parent: Inode, name: Buffer, key: string, caller: Caller): Promise<Found | undefined> {
    const result = parent.gone ? undefined : await this.#ask(parent, name, key, caller);
    return result === undefined ? this.#findInSuccessor(parent, name, key, caller) : result.found;
  }

  /**
   * A name in a directory that is no longer there. ESTALE is no answer to a lookup: for mkdir(2), symlink(2),
   * mknod(2) and link(2) the kernel does not repeat it. So the name is looked up in the directory that the path
   * leads to now; a change that follows names the old directory, gets ESTALE, and is repeated from the root. Only
   * where a descriptor of the old directory may be behind it, nothing of the new one is shown.
   */
  async #findInSuccessor(
    parent: Inode,
    name: Buffer,
    key: string,
    caller: Caller,
  ): Promise<Found | undefined> {
    const { parent: above, name: ownKey } = parent;
    if (!parent.gone || above === undefined) return undefined;
    const successor = (await this.find(above, Buffer.from(ownKey, 'latin1'), ownKey, caller))?.inode;
    if (successor === undefined || !successor.isDirectory) return undefined;
    const found = (await this.#ask(successor, name, key, caller))?.found;
    if (found === undefined || successor === parent) return found;
    if (parent.opens > 0) throw this.#vfs.redriver.staleError(parent, caller, 'path');
    return { ...found, entryValidMs: 0 };
  }

  /** LOOKUP; undefined: the directory's handle is stale, and stays so. */
  async #ask(
    parent: Inode,
    name: Buffer,
    key: string,
    caller: Caller,
  ): Promise<{ readonly found: Found | undefined } | undefined> {
    const vfs = this.#vfs;
    const generation = parent.generation;
    const before = vfs.dentries.getUnverified(parent, key);
    let start = vfs.attributes.start();
    const result = await vfs.redriver.run(parent, caller, (directory) => {
      start = vfs.attributes.start();
      return vfs.nfs.call(LOOKUP, { directory, name }, caller);
    });
    vfs.attributes.observe(parent, result.directoryAttributes, start);
    const now = vfs.dentries.getUnverified(parent, key);
    const handle = result.status === Status.OK ? result.object : undefined;
    if (now !== undefined && now !== before && now.inode?.handle !== handle && !now.inode?.stale) {
      // A change of ours gave the name another meaning meanwhile, and this reply may be from before it.
      return this.#ask(parent, name, key, caller);
    }
    if (result.status === Status.NOENT) {
      vfs.dentries.set(parent, key, undefined, generation);
      return { found: undefined };
    }
    if (isStale(result.status)) return undefined;
    if (result.status !== Status.OK) throw statusError(result.status);
    return {
      found: await this.answered(parent, key, result.object, result.attributes, start, generation, caller),
    };
  }

  #seemsAbsent(parent: Inode, key: string): boolean {
    const { config, dentries, knownNames, attributes } = this.#vfs;
    if (config.lookupCache !== 'all' || !knownNames.isAbsent(parent, key)) return false;
    return attributes.isFresh(parent) && dentries.get(parent, key) === undefined;
  }

  #fromCache(parent: Inode, key: string): EntryReply | NegativeEntryReply | undefined {
    const vfs = this.#vfs;
    const { lookupCache } = vfs.config;
    const dentry = lookupCache === 'none' ? undefined : vfs.dentries.get(parent, key);
    const fresh = vfs.attributes.isFresh(parent);
    if (dentry === undefined || !fresh) {
      vfs.counters.dentries.misses++;
      return undefined;
    }
    const { inode } = dentry;
    if (inode === undefined) {
      if (lookupCache !== 'all') return undefined;
      vfs.counters.negativeDentries.hits++;
      return { nodeid: 0, entryValidMs: vfs.entryValidity(parent, parent.generation, false) };
    }
    // With its own attributes in doubt, a LOOKUP answers for both at the price of one GETATTR.
    if (inode.attributes === undefined || !vfs.attributes.isFresh(inode)) return undefined;
    vfs.counters.dentries.hits++;
    return vfs.entryReply(inode, inode.attributes, vfs.entryValidity(parent, parent.generation, true));
  }

  /** For NFS export of this mount (FUSE EXPORT_SUPPORT). Neither name is ever sent to the server. */
  async #lookupDots(inode: Inode, key: string, caller: Caller): Promise<EntryReply> {
    const vfs = this.#vfs;
    const target = key === '.' || inode.isRoot ? inode : inode.parent;
    if (target === undefined) throw new FuseError(Errno.ESTALE, 'parent unknown');
    return vfs.entryReply(target, await vfs.freshAttributes(target, caller), 0);
  }

  /**
   * What LOOKUP or a call that made the name was answered, with its dentry set. Completes what the reply left out:
   * RFC 1813 lets servers omit the handle and the attributes.
   */
  async answered(
    parent: Inode,
    key: string,
    handle: FileHandle | undefined,
    attributes: Fattr3 | undefined,
    start: CallStart,
    generation: number,
    caller: Caller,
  ): Promise<Found> {
    const vfs = this.#vfs;
    if (handle === undefined) {
      const found = await this.find(parent, Buffer.from(key, 'latin1'), key, caller);
      if (found === undefined) throw statusError(Status.NOENT);
      return found;
    }
    const inode = vfs.bind(parent, key, handle, attributes, start, generation);
    const latest = attributes && (vfs.attributes.latest(inode, attributes, start) ?? inode.attributes);
    const known = latest ?? (await vfs.fetchAttributes(inode, caller));
    return { inode, attributes: known, entryValidMs: vfs.entryValidity(parent, generation, true) };
  }
}
