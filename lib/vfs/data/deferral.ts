/**
 * Whether attributes of a file that is being made may be set here first, and at the server together with the data. Owns the rule:
 * docs/semantics.md has it in full.
 */
import type { Fattr3, Sattr3 } from '../../programs/nfs3/index.js';
import type { SettingEvidence } from '../attributes/setting-evidence.js';
import type { Inode } from '../cache/inode.js';
import type { Caller } from '../caller/caller.js';
import type { ClientConfig } from '../config.js';
import { writerOf } from '../write-behind/write-behind.js';

export interface DeferralNeeds {
  readonly config: ClientConfig;
  readonly evidence: SettingEvidence;
}

/** Set-user-id and set-group-id: servers clear them with writes and changes of the owner. */
export const SET_ID = 0o6000;
/** The owner is the caller, who may take more in any case. */
const RIGHTS_OF_OTHERS = 0o077;

export class Deferral {
  readonly #vfs: DeferralNeeds;

  constructor(vfs: DeferralNeeds) {
    this.#vfs = vfs;
  }

  /** Whether the server takes this caller for the owner of what it makes, and nobody else checks its rights. */
  isMaker({ uid: owner }: Fattr3, { credential, claim }: Caller): boolean {
    const { attributesBehind, sync, attributeCache, writeBehind } = this.#vfs.config;
    if (!attributesBehind || sync || !attributeCache || writeBehind === 0) return false;
    return claim === undefined && owner === credential.uid;
  }

  /** Whether a file that CREATE has made with `attributes` may keep them for a moment, although `changes` were wanted. */
  allowsNew(attributes: Fattr3, changes: Sattr3, caller: Caller): boolean {
    const { mode = 0 } = changes;
    // Nobody may get rights in the meantime that he is not to have.
    if ((attributes.mode & RIGHTS_OF_OTHERS & ~mode) !== 0 || ((attributes.mode | mode) & SET_ID) !== 0)
      return false;
    const { uid } = caller.credential;
    return this.isMaker(attributes, caller) && this.#vfs.evidence.covers(attributes.fsid, uid, changes);
  }

  /** Whether `changes` of the file may wait for its data. */
  allows(inode: Inode, changes: Sattr3, caller: Caller): boolean {
    const writer = writerOf(inode);
    const { attributes, silly, stale } = inode;
    if (writer?.maker === undefined || writer.maker !== caller.credential) return false;
    if (attributes === undefined || attributes.nlink !== 1 || silly !== undefined || stale) return false;
    const { mode, uid, gid, size, atime, mtime } = changes;
    // The server's time is the one at which it is asked. Set-id bits go with data and owners, as the server has it.
    if (size !== undefined || atime === 'server' || mtime === 'server') return false;
    if (((mode ?? 0) & SET_ID) !== 0) return false;
    if (caller.credential.uid !== 0) {
      const known = writer.attributesWith(attributes);
      if ((uid ?? known.uid) !== known.uid || (gid ?? known.gid) !== known.gid) return false;
    }
    return this.#vfs.evidence.covers(attributes.fsid, caller.credential.uid, changes);
  }
}
