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
/** With this id, which cannot be set, setfsuid(2) and setfsgid(2) only return the present one. */
const ASK = 0xffffffff;
/**
 * The capabilities that setfsuid(2) takes away from everybody but root (capabilities(7)): CHOWN, DAC_OVERRIDE,
 * DAC_READ_SEARCH, FOWNER, FSETID, LINUX_IMMUTABLE, MKNOD, MAC_OVERRIDE.
 */
const FILE_CAPABILITIES = [0, 1, 2, 3, 4, 9, 27, 32].reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);
/** The default uid that a user namespace shows for an owner that has no number there. */
const OVERFLOW_UID = 65534;

/** Whether this thread may still override file permissions. True if /proc cannot be read. */
function overridesPermissions(): boolean {
  try {
    const [, mask] =
      /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/thread-self/status', 'latin1')) ?? [];
    return mask === undefined || (BigInt(`0x${mask}`) & FILE_CAPABILITIES) !== 0n;
  } catch {
    return true;
  }
}

/** The uid that stands for all users without a number here. Undefined: all users have one. */
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
  /** Whether calls are carried out with the callers' own identities. If not, all act as the server's user. */
  readonly impersonating: boolean;
  readonly #options: ServedUsersOptions;
  readonly #own: ServedUser;
  readonly #anonymous: ServedUser;
  readonly #overflowUid = overflowUid();
  /** null: the kernel does not accept the identity. */
  readonly #known = new WeakMap<AuthSys, ServedUser | null>();
  /** This thread now has an identity other than the server's own. */
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

  /** Whether the kernel lets this process act as another user. In most user namespaces it does not. */
  #canImpersonate(): boolean {
    const { uid, groups } = this.#own;
    if (uid !== 0 || !canSetThreadGroups || setThreadGroups(groups) < 0) return false;
    // With "secure bits", capabilities can survive a change of the uid. Permissions would then not be checked.
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
   * Whether the caller is `owner`. In a user namespace all owners without a number there show as the same uid, and no
   * caller counts as that owner.
   */
  owns(caller: ServedUser, owner: number): boolean {
    return caller.uid === owner && owner !== this.#overflowUid;
  }

  /** The caller with `gid` as its group. The server's own user stays as it is. */
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

  /** Takes the identity. False: only a part of it could be taken. Call {@link #restore} afterwards in any case. */
  #take({ uid, gid, groups }: ServedUser): boolean {
    if (setThreadGroups(groups) < 0) return false;
    // setfsgid(2) and setfsuid(2) do not report whether they have succeeded.
    setFsGid(gid);
    if (setFsGid(ASK) !== gid) return false;
    // The uid comes last, since setting it takes away the privilege to set the others.
    setFsUid(uid);
    return setFsUid(ASK) === uid;
  }

  /** Ends a server that cannot take its own identity back: it would carry out later calls as the wrong user. */
  #restore(): void {
    const { uid, gid, groups } = this.#own;
    setFsUid(uid);
    setFsGid(gid);
    if (setFsUid(ASK) === uid && setFsGid(ASK) === gid && setThreadGroups(groups) === 0) return;
    writeSync(2, 'nfs-fuse: The server cannot get back its own identity, and ends.\n');
    process.exit(1);
  }
}
