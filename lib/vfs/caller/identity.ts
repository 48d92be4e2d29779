/**
 * Users and groups on both sides: which of the server's ids stands for which of this machine's. Pure.
 *
 * The one rule: everything within the client (caches, credentials, comparisons) is the server's ids. They are
 * translated where FUSE is spoken with, and nowhere else: who asks (`credentials`), to whom chown(2) gives
 * (`ownersToServer`), and as whose an object is shown (`uid.toLocal`, `gid.toLocal`).
 */
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { SetAttributes } from '../../fuse/contract/operations.js';
import { Claim } from './claim.js';

/** As whose is shown what has no counterpart here (Linux's overflow id). */
export const NOBODY = 65_534;
/** 2^32-1 is chown(2)'s "leave it as it is". */
export const MAX_ID = 0xffff_fffe;

/** `count` ids that follow each other, on both sides. */
export interface IdRange {
  readonly local: number;
  readonly server: number;
  readonly count: number;
}

/** The rules that the options give for users, or for groups. */
export interface IdRules {
  /** uid=, gid=: the server's id that all calls are made with. */
  readonly everybody: number | undefined;
  /** idmap-uid=, idmap-gid=: no two with an id in common. None: ids are the same on both sides. */
  readonly ranges: readonly IdRange[];
}

export interface IdentityRules {
  readonly uid: IdRules;
  readonly gid: IdRules;
  /**
   * Groups of whoever mounts that a user namespace made for them cannot name, by their numbers outside: whoever in there
   * is shown with a group that has no name has all of these (setgroups(2) is denied there).
   */
  readonly outerGroups?: readonly number[] | undefined;
  /** groups=: of callers whose own groups cannot be read, by this machine's numbers. */
  readonly unseenGroups?: readonly number[] | undefined;
  /** Somebody else has made the mount, perhaps in another PID namespace. */
  readonly madeElsewhere?: boolean | undefined;
  /**
   * The mount may be idmapped, so the kernel does not tell who asks, and alone checks their rights. Only where `uid` and `gid` make
   * everybody one user of the server.
   */
  readonly idmapped?: boolean | undefined;
}

const SAME_IDS: IdRules = { everybody: undefined, ranges: [] };
/** Ids are the same on both sides. */
export const SAME_IDENTITY: IdentityRules = { uid: SAME_IDS, gid: SAME_IDS };

/** The user who mounts, and the ids of that user's namespace: no other can be shown to programs. */
export interface Mounter {
  readonly uid: number;
  readonly gid: number;
  /** The namespace has every id there is, as the machine's own. */
  readonly complete: boolean;
  hasUid(uid: number): boolean;
  hasGid(gid: number): boolean;
}

/** One kind of ids, in both directions. */
export interface IdTranslation {
  /** With which id the calls of a local user are made; undefined: none. */
  ofCaller(local: number): number | undefined;
  /** For chown(2); undefined: the server has no such id. */
  toServer(local: number): number | undefined;
  toLocal(server: number): number;
}

export interface Ids {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

type Side = 'local' | 'server';

/** Two ranges with an id in common, on the side where they have; undefined: the ranges are sound together. */
export function overlapOf(ranges: readonly IdRange[]): { a: IdRange; b: IdRange; side: Side } | undefined {
  for (const side of ['local', 'server'] as const) {
    const sorted = sortedBy(side, ranges);
    for (const [index, b] of sorted.entries()) {
      const a = sorted[index - 1];
      if (a !== undefined && a[side] + a.count > b[side]) return { a, b, side };
    }
  }
  return undefined;
}

function sortedBy(side: Side, ranges: readonly IdRange[]): IdRange[] {
  return [...ranges].sort((a, b) => a[side] - b[side]);
}

/** The range that has `id` on a side; `sorted` by that side. */
function rangeOf(side: Side, sorted: readonly IdRange[], id: number): IdRange | undefined {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle]?.[side] ?? 0) <= id) low = middle + 1;
    else high = middle;
  }
  const range = sorted[low - 1];
  return range !== undefined && id < range[side] + range.count ? range : undefined;
}

const SAME: IdTranslation = {
  ofCaller: (local) => local,
  toServer: (local) => local,
  toLocal: (server) => server,
};

function byRanges(ranges: readonly IdRange[]): IdTranslation {
  const byLocal = sortedBy('local', ranges);
  const byServer = sortedBy('server', ranges);
  const toServer = (local: number): number | undefined => {
    const range = rangeOf('local', byLocal, local);
    return range === undefined ? undefined : range.server + (local - range.local);
  };
  return {
    ofCaller: toServer,
    toServer,
    toLocal: (server) => {
      const range = rangeOf('server', byServer, server);
      return range === undefined ? NOBODY : range.local + (server - range.server);
    },
  };
}

/**
 * The server's id `one` and the mounter's `own` stand for each other; all others are the same on both sides. Since
 * `own` is taken, what the server calls so is nobody's here. An id that the mounter's namespace cannot show reads as
 * nobody's too or, where it has no nobody, as the mounter's: of what it cannot show, the kernel would refuse every
 * change, whatever the server allows.
 */
function byOne(one: number, own: number, has: (id: number) => boolean): IdTranslation {
  const stranger = has(NOBODY) ? NOBODY : own;
  return {
    ofCaller: () => one,
    toServer: (local) => (local === own ? one : local),
    toLocal: (server) => {
      if (server === one) return own;
      return server !== own && has(server) ? server : stranger;
    },
  };
}

/**
 * Ids are the same on both sides, and what the mounter's namespace does not have reads as `stranger`: of what has no owner
 * in it, the kernel refuses every change, whatever the server allows. Undefined: that is how it has to be.
 */
function byNamespace(has: (id: number) => boolean, stranger: number | undefined): IdTranslation {
  return { ...SAME, toLocal: (server) => (has(server) ? server : (stranger ?? server)) };
}

/** `same`: how ids are translated where no rule says more. */
function translation(
  rules: IdRules,
  own: number,
  has: (id: number) => boolean,
  same: IdTranslation,
): IdTranslation {
  const { everybody, ranges } = rules;
  if (ranges.length > 0) {
    const ranged = byRanges(ranges);
    return everybody === undefined ? ranged : { ...ranged, ofCaller: () => everybody };
  }
  return everybody === undefined ? same : byOne(everybody, own, has);
}

export function isSameIdentity(rules: IdentityRules): boolean {
  return [rules.uid, rules.gid].every(
    ({ everybody, ranges }) => everybody === undefined && ranges.length === 0,
  );
}

export class Identity {
  readonly uid: IdTranslation;
  readonly gid: IdTranslation;
  readonly #mounter: Mounter;
  readonly #oneGroup: boolean;
  readonly #merges: boolean;
  readonly #idmapped: boolean;
  readonly #outerGroups: readonly number[];

  constructor(rules: IdentityRules, mounter: Mounter) {
    const hasUid = (id: number) => mounter.hasUid(id);
    const hasGid = (id: number) => mounter.hasGid(id);
    // Where there is no nobody, a group reads as the mounter's own: files of one's own with another group would be read-only
    // otherwise. An owner does not: ssh, git and the like trust what is one's own.
    const sameUid = mounter.complete ? SAME : byNamespace(hasUid, hasUid(NOBODY) ? NOBODY : undefined);
    const sameGid = mounter.complete ? SAME : byNamespace(hasGid, hasGid(NOBODY) ? NOBODY : mounter.gid);
    this.uid = translation(rules.uid, mounter.uid, hasUid, sameUid);
    this.gid = translation(rules.gid, mounter.gid, hasGid, sameGid);
    this.#mounter = mounter;
    this.#oneGroup = rules.gid.everybody !== undefined;
    this.#merges = this.#oneGroup || rules.uid.everybody !== undefined;
    this.#idmapped = rules.idmapped === true;
    this.#outerGroups = rules.gid.ranges.length === 0 ? (rules.outerGroups ?? []) : [];
  }

  /** Whether the mounter's namespace has the owner that an object is shown with. If not, nobody may change it from here. */
  showsOwner(server: { readonly uid: number; readonly gid: number }): boolean {
    const { hasUid, hasGid } = this.#mounter;
    return hasUid(this.uid.toLocal(server.uid)) && hasGid(this.gid.toLocal(server.gid));
  }

  /**
   * Whom the calls of a local user are made as. Groups that the server does not have are left out; with gid=, all
   * are. Undefined: the user or the primary group has no counterpart.
   */
  idsOf(local: Ids): Ids | undefined {
    const uid = this.uid.ofCaller(local.uid);
    const gid = this.gid.ofCaller(local.gid);
    if (uid === undefined || gid === undefined) return undefined;
    if (this.#oneGroup) return { uid, gid, groups: [] };
    const groups = this.#named(local.groups).map((group) => this.gid.ofCaller(group));
    return { uid, gid, groups: groups.filter((group) => group !== undefined) };
  }

  /**
   * In a namespace, nobody's number also stands for every group that it cannot name: sent, it would make callers members of a
   * group that they are not in.
   */
  #named(groups: readonly number[]): readonly number[] {
    if (this.#mounter.complete || !groups.includes(NOBODY)) return groups;
    return [...groups.filter((group) => group !== NOBODY), ...this.#outerGroups];
  }

  /**
   * The claim that tells a caller from the others where the server cannot: uid= or gid= make them one user or one group
   * there. Undefined: the server's word is enough. It also is for the mounter, who is that user, and for root, whom mode
   * bits do not stop anywhere. And in an idmapped mount nobody but the kernel knows the caller.
   */
  claimOf(local: Ids): Claim | undefined {
    if (!this.#merges || this.#idmapped || local.uid === this.#mounter.uid || local.uid === 0)
      return undefined;
    const groups = new Set([local.gid, ...local.groups]);
    // It stands for groups without a name here, of which nobody can be known to be a member.
    if (!this.#mounter.complete) groups.delete(NOBODY);
    const { uid, gid } = this;
    return new Claim({
      isUser: (server) => isShownAs(uid, server, local.uid),
      isMember: (server) => groups.has(gid.toLocal(server)) && isShownAs(gid, server, gid.toLocal(server)),
    });
  }

  /** As {@link idsOf}. Throws EOVERFLOW where there is no counterpart, as the kernel does in a user namespace. */
  callerIds(local: Ids): Ids {
    const ids = this.idsOf(local);
    if (ids !== undefined) return ids;
    throw new FuseError(Errno.EOVERFLOW, `uid ${local.uid} or gid ${local.gid} has no counterpart`);
  }

  /**
   * The owner and group that chown(2) asks for, in the server's ids. Throws EINVAL where it has none, as in a user
   * namespace.
   */
  ownersToServer(changes: SetAttributes): SetAttributes {
    if (changes.uid === undefined && changes.gid === undefined) return changes;
    return {
      ...changes,
      uid: changes.uid === undefined ? undefined : counterpart(this.uid, changes.uid),
      gid: changes.gid === undefined ? undefined : counterpart(this.gid, changes.gid),
    };
  }
}

/** Both stand for each other: an id without a counterpart is shown as nobody, but is not nobody's. */
function isShownAs(ids: IdTranslation, server: number, local: number): boolean {
  return ids.toLocal(server) === local && ids.toServer(local) === server;
}

function counterpart(ids: IdTranslation, local: number): number {
  const server = ids.toServer(local);
  if (server === undefined) throw new FuseError(Errno.EINVAL, `id ${local} has no counterpart`);
  return server;
}
