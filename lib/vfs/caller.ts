/** On whose behalf a call goes to the server: credentials of processes, looked up once and kept a moment. */
import { readFileSync } from 'node:fs';
import { LRUCache } from 'lru-cache';
import type { RequestContext } from '../fuse/operations.js';
import type { Cancellation } from '../rpc/caller.js';
import { type AuthSys, authSysCredential, type Credential, MAX_AUTH_SYS_GROUPS } from '../rpc/credential.js';

/** An AUTH_SYS credential; equal ones are the same object, so that caches may key by `id`. */
export interface UserCredential extends Credential {
  readonly id: number;
  readonly uid: number;
  readonly gid: number;
}

export interface Caller {
  readonly credential: UserCredential;
  /** Undefined: nobody waits who could be interrupted. */
  readonly cancellation: Cancellation | undefined;
  /** The thread that asks, 0 for the kernel itself. */
  readonly tid: number;
}

/** How long the groups of a thread are believed. setgroups(2) of a running thread is rare; reading /proc is not free. */
const GROUPS_VALID_MS = 1_000;

/** Supplementary groups of a thread from /proc/TID/status; none where it is gone or hidden. */
export function readSupplementaryGroups(tid: number): readonly number[] {
  if (tid === 0) return [];
  let status: string;
  try {
    status = readFileSync(`/proc/${tid}/status`, 'latin1');
  } catch {
    return [];
  }
  const groups = /^Groups:(.*)$/m.exec(status)?.[1]?.trim();
  return groups === undefined || groups === '' ? [] : groups.split(/\s+/).map(Number);
}

export interface CredentialsOptions {
  readonly machineName: string;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly groupsOf?: (tid: number) => readonly number[];
}

export class Credentials {
  readonly #machineName: string;
  readonly #groupsOf: (tid: number) => readonly number[];
  readonly #interned = new LRUCache<string, UserCredential>({ max: 4096 });
  readonly #threads: LRUCache<number, UserCredential>;
  #nextId = 1;

  constructor(options: CredentialsOptions) {
    this.#machineName = options.machineName;
    this.#groupsOf = options.groupsOf ?? readSupplementaryGroups;
    this.#threads = new LRUCache({
      max: 1024,
      ttl: GROUPS_VALID_MS,
      perf: { now: options.now },
    });
  }

  /** The credential for exactly these ids. Groups beyond 16, and the gid among them, are left out. */
  of(uid: number, gid: number, groups: readonly number[]): UserCredential {
    const sent = groups.filter((group) => group !== gid).slice(0, MAX_AUTH_SYS_GROUPS);
    const key = `${uid}:${gid}:${sent.join(',')}`;
    const known = this.#interned.get(key);
    if (known !== undefined) return known;
    const auth: AuthSys = { machineName: this.#machineName, uid, gid, groups: sent };
    const credential = { ...authSysCredential(auth), id: this.#nextId++, uid, gid };
    this.#interned.set(key, credential);
    return credential;
  }

  /** Who sent this request. */
  caller(ctx: RequestContext): Caller {
    let credential = this.#threads.get(ctx.pid);
    // A thread id that was reused, or a thread that changed its ids, shows in the ids of the request.
    if (credential === undefined || credential.uid !== ctx.uid || credential.gid !== ctx.gid) {
      credential = this.of(ctx.uid, ctx.gid, this.#groupsOf(ctx.pid));
      if (ctx.pid !== 0) this.#threads.set(ctx.pid, credential);
    }
    return { credential, cancellation: ctx, tid: ctx.pid };
  }
}

/** A caller for work that outlives the request which began it. */
export function unattended(credential: UserCredential): Caller {
  return { credential, cancellation: undefined, tid: 0 };
}
