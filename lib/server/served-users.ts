/**
 * The identity that the server acts with. As root it takes the caller's uid, gid and groups for the kernel's
 * permission checks, so that the kernel itself decides, access control lists and sticky bits included; without
 * privileges everything is done as the server's own user. Owns the mapping of squashed callers, and the rule that
 * nothing runs for a caller whose identity the kernel has not taken.
 */
import { readFileSync, writeSync } from 'node:fs';
import { Status } from '../programs/nfs3/index.js';
import type { AuthSys } from '../rpc/auth/auth-sys.js';
import { NfsError } from './status-error.js';
import { canSetThreadGroups, setFsGid, setFsUid, setThreadGroups } from './system-calls-at.js';

export interface ServedUser {
  readonly uid: number;
  readonly gid: number;
  readonly groups: Uint32Array;
}

export interface ServedUsersOptions {
  /** Treat uid 0 as the anonymous user, and gid 0, also among the groups, as the anonymous group. */
  readonly rootSquash: boolean;
  /** Treat everybody as the anonymous user. */
  readonly allSquash: boolean;
  readonly anonymousUid: number;
  readonly anonymousGid: number;
}

const NO_GROUPS = new Uint32Array(0);
/** setfsuid(2) and setfsgid(2) with an id that cannot be set only tell the present one. */
const ASK = 0xffffffff;
/**
 * The capabilities that setfsuid(2) takes away from everybody but root (capabilities(7)): CHOWN, DAC_OVERRIDE,
 * DAC_READ_SEARCH, FOWNER, FSETID, LINUX_IMMUTABLE, MKNOD, MAC_OVERRIDE.
 */
const FILE_CAPABILITIES = [0, 1, 2, 3, 4, 9, 27, 32].reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);
/** A user namespace shows this for an owner that it has no number for, unless the machine says otherwise. */
const OVERFLOW_UID = 65534;

/** Whether this thread may still pass over file permissions. Also where /proc does not tell. */
function overridesPermissions(): boolean {
  try {
    const [, mask] =
      /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/thread-self/status', 'latin1')) ?? [];
    return mask === undefined || (BigInt(`0x${mask}`) & FILE_CAPABILITIES) !== 0n;
  } catch {
    return true;
  }
}

/** The uid that stands for all that have no number here; undefined where each one has. */
function overflowUid(): number | undefined {
  try {
    const [first = 1, , count = 0] = readFileSync('/proc/self/uid_map', 'latin1')
      .trim()
      .split(/\s+/)
      .map(Number);
    if (first === 0 && count === 0xffffffff) return undefined;
    return Number(readFileSync('/proc/sys/kernel/overflowuid', 'latin1'));
  } catch {
    return OVERFLOW_UID;
  }
}

export class ServedUsers {
  /** Whether callers' own identities count. If not, all act as the server's user. */
  readonly impersonating: boolean;
  readonly #options: ServedUsersOptions;
  readonly #own: ServedUser;
  readonly #anonymous: ServedUser;
  readonly #overflowUid = overflowUid();
  /** null: an identity that the kernel does not take. */
  readonly #known = new WeakMap<AuthSys, ServedUser | null>();
  /** Another identity than the server's own is in force. */
  #acting = false;

  constructor(options: ServedUsersOptions) {
    this.#options = options;
    this.#own = {
      uid: process.geteuid?.() ?? 0,
      gid: process.getegid?.() ?? 0,
      groups: Uint32Array.from(process.getgroups?.() ?? []),
    };
    this.#anonymous = { uid: options.anonymousUid, gid: options.anonymousGid, groups: NO_GROUPS };
    this.impersonating = this.#canImpersonate();
  }

  /** Whether the kernel lets this process take another user's place: not so in most user namespaces. */
  #canImpersonate(): boolean {
    const { uid, groups } = this.#own;
    if (uid !== 0 || !canSetThreadGroups || setThreadGroups(groups) < 0) return false;
    // "Secure bits" can keep capabilities over a change of the uid.
    const taken = this.#take(this.#anonymous) && !overridesPermissions();
    this.#restore();
    return taken;
  }

  /**
   * `credential`: undefined for AUTH_NONE, which is nobody. Undefined where the kernel does not take the identity:
   * uid and gid 4294967295, and whatever a user namespace has no number for. Such a call must be refused.
   */
  identify(credential: AuthSys | undefined): ServedUser | undefined {
    if (!this.impersonating) return this.#own;
    if (credential === undefined || this.#options.allSquash) return this.#anonymous;
    let caller = this.#known.get(credential);
    if (caller === undefined) {
      const squashed = this.#squash(credential);
      caller = this.#canBe(squashed) ? squashed : null;
      this.#known.set(credential, caller);
    }
    return caller ?? undefined;
  }

  #squash({ uid, gid, groups }: AuthSys): ServedUser {
    if (!this.#options.rootSquash) return { uid, gid, groups: Uint32Array.from(groups) };
    if (uid === 0) return this.#anonymous;
    const group = (id: number): number => (id === 0 ? this.#anonymous.gid : id);
    return { uid, gid: group(gid), groups: Uint32Array.from(groups, group) };
  }

  #canBe(caller: ServedUser): boolean {
    const taken = this.#take(caller);
    this.#restore();
    return taken;
  }

  /**
   * Whether the caller owns an object of this owner. In a user namespace every owner without a number there shows
   * as one and the same, so that this one is nobody's own.
   */
  owns(caller: ServedUser, owner: number): boolean {
    return caller.uid === owner && owner !== this.#overflowUid;
  }

  /** The caller as a member of the group. The server's own user stays as it is. */
  within(caller: ServedUser, gid: number): ServedUser {
    return caller === this.#own ? caller : { ...caller, gid };
  }

  /**
   * Runs `action` with the caller's identity. It must be synchronous: the identity is this thread's, and anything
   * that ran in between would have it too. Work done in Node's thread pool is the server's own. Throws NFS3ERR_ACCES
   * and runs nothing where the kernel does not take the identity.
   */
  as<T>(caller: ServedUser, action: () => T): T {
    const own = this.#own;
    if (caller === own || (caller.uid === own.uid && caller.gid === own.gid && caller.uid === 0)) {
      return action();
    }
    if (this.#acting) throw new Error('one identity is taken within another');
    this.#acting = true;
    try {
      if (!this.#take(caller)) throw new NfsError(Status.ACCES, `the kernel does not take uid ${caller.uid}`);
      return action();
    } finally {
      this.#restore();
      this.#acting = false;
    }
  }

  /** False: not all of the identity is in force, only a part of it. {@link #restore} is due in any case. */
  #take({ uid, gid, groups }: ServedUser): boolean {
    if (setThreadGroups(groups) < 0) return false;
    // setfsgid(2) and setfsuid(2) tell nothing of success.
    setFsGid(gid);
    if (setFsGid(ASK) !== gid) return false;
    // Last, since it takes away the privilege to set the others.
    setFsUid(uid);
    return setFsUid(ASK) === uid;
  }

  /** A server that cannot get back to its own identity ends: it would carry out everything as somebody else. */
  #restore(): void {
    const { uid, gid, groups } = this.#own;
    setFsUid(uid);
    setFsGid(gid);
    if (setFsUid(ASK) === uid && setFsGid(ASK) === gid && setThreadGroups(groups) === 0) return;
    writeSync(2, 'nfs-fuse: The server cannot get back its own identity, and ends.\n');
    process.exit(1);
  }
}
