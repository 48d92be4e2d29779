/**
 * Whom the server acts for. As root it takes the caller's uid, gid and groups for the kernel's permission checks, so
 * that the kernel itself decides, access control lists and sticky bits included; without privileges everything is
 * done as the server's own user. Owns the mapping of squashed callers.
 */
import type { AuthSys } from '../rpc/credential.js';
import { canSetThreadGroups, setFsGid, setFsUid, setThreadGroups } from './libc.js';

export interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly groups: Uint32Array;
}

export interface CallersOptions {
  /** Treat uid 0 as the anonymous user. */
  readonly rootSquash: boolean;
  /** Treat everybody as the anonymous user. */
  readonly allSquash: boolean;
  readonly anonymousUid: number;
  readonly anonymousGid: number;
}

const NO_GROUPS = new Uint32Array(0);
/** setfsuid(2) with an id that cannot be set only tells the present one. */
const ASK = 0xffffffff;

/** Whether the kernel lets this process take another user's place: not so in most user namespaces. */
function canImpersonate(uid: number, gid: number): boolean {
  if (process.geteuid?.() !== 0 || !canSetThreadGroups) return false;
  const own = Uint32Array.from(process.getgroups?.() ?? []);
  if (setThreadGroups(own) < 0) return false;
  setFsGid(gid);
  setFsUid(uid);
  const taken = setFsUid(ASK) === uid && setFsGid(ASK) === gid;
  setFsUid(0);
  setFsGid(process.getegid?.() ?? 0);
  return taken;
}

export class Callers {
  /** Whether callers' own identities count. If not, all act as the server's user. */
  readonly impersonating: boolean;
  readonly #options: CallersOptions;
  readonly #own: Caller;
  readonly #anonymous: Caller;
  readonly #known = new WeakMap<AuthSys, Caller>();

  constructor(options: CallersOptions) {
    this.#options = options;
    this.impersonating = canImpersonate(options.anonymousUid, options.anonymousGid);
    this.#own = {
      uid: process.geteuid?.() ?? 0,
      gid: process.getegid?.() ?? 0,
      groups: Uint32Array.from(process.getgroups?.() ?? []),
    };
    this.#anonymous = { uid: options.anonymousUid, gid: options.anonymousGid, groups: NO_GROUPS };
  }

  /** `credential`: undefined for AUTH_NONE, which is nobody. */
  identify(credential: AuthSys | undefined): Caller {
    if (!this.impersonating) return this.#own;
    if (credential === undefined || this.#options.allSquash) return this.#anonymous;
    let caller = this.#known.get(credential);
    if (caller === undefined) {
      const squashed = this.#options.rootSquash && credential.uid === 0;
      caller = squashed
        ? this.#anonymous
        : { uid: credential.uid, gid: credential.gid, groups: Uint32Array.from(credential.groups) };
      this.#known.set(credential, caller);
    }
    return caller;
  }

  /**
   * Runs `action` with the caller's identity. It must be synchronous: the identity is this thread's, and anything
   * that ran in between would have it too. Work done in Node's thread pool is the server's own.
   */
  as<T>(caller: Caller, action: () => T): T {
    const own = this.#own;
    if (caller === own || (caller.uid === own.uid && caller.gid === own.gid && caller.uid === 0)) {
      return action();
    }
    setThreadGroups(caller.groups);
    setFsGid(caller.gid);
    // Last, since it takes away the privilege to set the others.
    setFsUid(caller.uid);
    try {
      return action();
    } finally {
      setFsUid(own.uid);
      setFsGid(own.gid);
      setThreadGroups(own.groups);
    }
  }
}
