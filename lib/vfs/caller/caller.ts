/** On whose behalf a call goes to the server: credentials of processes, looked up once and kept a moment. */
import { LRUCache } from 'lru-cache';
import type { RequestContext } from '../../fuse/contract/operations.js';
import { type AuthSys, authSysCredential, MAX_AUTH_SYS_GROUPS } from '../../rpc/auth/auth-sys.js';
import type { Credential } from '../../rpc/auth/credential.js';
import type { Cancellation } from '../../rpc/client/rpc-caller.js';
import { CallerGroups } from './caller-groups.js';
import type { Claim } from './claim.js';
import type { Identity, Ids } from './identity.js';

/** An AUTH_SYS credential, in the server's ids; equal ones are the same object, so that caches may key by `id`. */
export interface UserCredential extends Credential {
  readonly id: number;
  readonly uid: number;
  readonly gid: number;
  /** As sent: without the gid, 16 at the most. */
  readonly groups: readonly number[];
}

/** The kernel's request on whose behalf a call is made. Without a number: it is none of the kernel's. */
export type KernelRequest = Cancellation & Partial<Pick<RequestContext, 'unique' | 'resent' | 'uid'>>;

export interface Caller {
  readonly credential: UserCredential;
  /** Of a caller with more groups than a credential carries: all of them. */
  readonly manyGroups?: ManyGroups | undefined;
  /** Undefined: the server knows the caller, and its word is enough. */
  readonly claim?: Claim | undefined;
  /** Undefined: nobody waits who could be interrupted. */
  readonly cancellation: Cancellation | undefined;
  /** Undefined: it is our own work. */
  readonly request?: KernelRequest | undefined;
  /** The thread that asks, 0 for the kernel itself. */
  readonly tid: number;
}

/** How long the groups of a thread are believed. setgroups(2) of a running thread is rare; reading /proc is not free. */
const GROUPS_VALID_MS = 1_000;

/** A caller's groups where AUTH_SYS cannot carry them all: which of them go along depends on the object. */
export class ManyGroups {
  readonly #ids: Ids;
  readonly #all: ReadonlySet<number>;
  readonly #credentials: Credentials;
  /** By the groups that were asked for. There are few: groups of objects that are also the caller's. */
  readonly #chosen = new Map<string, UserCredential>();

  constructor(ids: Ids, credentials: Credentials) {
    this.#ids = ids;
    this.#all = new Set(ids.groups);
    this.#credentials = credentials;
  }

  /** `present` if it shows the caller in those of `concerned` that are the caller's, else one that does. */
  credentialFor(present: UserCredential, concerned: readonly (number | undefined)[]): UserCredential {
    const { uid, gid, groups } = this.#ids;
    const needed = concerned.filter(
      (group) => group !== undefined && group !== gid && this.#all.has(group),
    ) as number[];
    if (needed.every((group) => present.groups.includes(group))) return present;
    needed.sort((a, b) => a - b);
    const key = needed.join(',');
    let credential = this.#chosen.get(key);
    if (credential === undefined) {
      credential = this.#credentials.of(uid, gid, [...needed, ...groups]);
      this.#chosen.set(key, credential);
    }
    return credential;
  }
}

/**
 * The same caller, shown to the server as a member of those of these groups that are the caller's. To be called with
 * the groups of the objects that an operation is about, of which a caller with more than 16 groups would else not
 * be known to be a member.
 */
export function withGroups(caller: Caller, ...groups: readonly (number | undefined)[]): Caller {
  const { manyGroups } = caller;
  if (manyGroups === undefined) return caller;
  const credential = manyGroups.credentialFor(caller.credential, groups);
  return credential === caller.credential ? caller : { ...caller, credential };
}

type GroupsOf = (tid: number, uid: number, gid: number) => readonly number[];

export interface CredentialsOptions {
  readonly machineName: string;
  /** Undefined: the server's ids are this machine's. */
  readonly identity?: Identity | undefined;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** Supplementary groups; by default from /proc, of callers whom it shows. */
  readonly groupsOf?: GroupsOf | undefined;
}

/** A thread as it was last seen, by the ids of this machine. */
interface Thread {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  readonly credential: UserCredential;
  readonly manyGroups: ManyGroups | undefined;
  readonly claim: Claim | undefined;
}

export class Credentials {
  readonly #machineName: string;
  readonly #identity: Identity | undefined;
  readonly #groupsOf: GroupsOf;
  readonly #interned = new LRUCache<string, UserCredential>({ max: 4096 });
  readonly #threads: LRUCache<number, Thread>;
  #nextId = 1;

  constructor(options: CredentialsOptions) {
    this.#machineName = options.machineName;
    this.#identity = options.identity;
    this.#groupsOf = options.groupsOf ?? new CallerGroups({}).of;
    this.#threads = new LRUCache({
      max: 1024,
      ttl: GROUPS_VALID_MS,
      perf: { now: options.now },
    });
  }

  /** The credential for exactly these ids of the server. Groups beyond 16, and the gid among them, are left out. */
  of(uid: number, gid: number, groups: readonly number[]): UserCredential {
    const sent = [...new Set(groups)].filter((group) => group !== gid).slice(0, MAX_AUTH_SYS_GROUPS);
    const key = `${uid}:${gid}:${sent.join(',')}`;
    const known = this.#interned.get(key);
    if (known !== undefined) return known;
    const auth: AuthSys = { machineName: this.#machineName, uid, gid, groups: sent };
    const credential = { ...authSysCredential(auth), id: this.#nextId++, uid, gid, groups: sent };
    this.#interned.set(key, credential);
    return credential;
  }

  /** The sender of this request. Throws EOVERFLOW for somebody without a counterpart on the server. */
  caller(ctx: RequestContext): Caller {
    let thread = this.#threads.get(ctx.pid);
    // A thread id that was reused, or a thread that changed its ids, shows in the ids of the request.
    if (thread === undefined || thread.uid !== ctx.uid || thread.gid !== ctx.gid) {
      thread = this.#thread(ctx.uid, ctx.gid, this.#groupsOf(ctx.pid, ctx.uid, ctx.gid));
      if (ctx.pid !== 0) this.#threads.set(ctx.pid, thread);
    }
    const { directoryGroup } = ctx;
    // The kernel's word on a group, for this request alone.
    if (directoryGroup !== undefined && !thread.groups.includes(directoryGroup))
      thread = this.#thread(ctx.uid, ctx.gid, [directoryGroup, ...thread.groups]);
    const { credential, manyGroups, claim } = thread;
    return { credential, manyGroups, claim, cancellation: ctx, request: ctx, tid: ctx.pid };
  }

  #thread(uid: number, gid: number, groups: readonly number[]): Thread {
    const local: Ids = { uid, gid, groups };
    const ids = this.#identity === undefined ? local : this.#identity.callerIds(local);
    const credential = this.of(ids.uid, ids.gid, ids.groups);
    const all = new Set(ids.groups).add(ids.gid).size - 1;
    return {
      uid,
      gid,
      groups,
      credential,
      manyGroups: all > credential.groups.length ? new ManyGroups(ids, this) : undefined,
      claim: this.#identity?.claimOf(local),
    };
  }
}

/** A caller for work that outlives the request which began it. */
export function unattended(credential: UserCredential): Caller {
  return { credential, cancellation: undefined, tid: 0 };
}
