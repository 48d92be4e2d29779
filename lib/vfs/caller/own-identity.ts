/** The process that mounts: its own ids and those of its user namespace, as the identity options need them. */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Fattr3 } from '../../programs/nfs3/index.js';
import { authSysCredential } from '../../rpc/auth/auth-sys.js';
import type { Credential } from '../../rpc/auth/credential.js';
import { Identity, type IdentityRules, type Ids, isSameIdentity, type Mounter, NOBODY } from './identity.js';

/** Which ids /proc/PID/uid_map or gid_map lists: lines of `inside outside count` (user_namespaces(7)). */
export function namespaceIds(map: string): (id: number) => boolean {
  const ranges = map
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number));
  return (id) => ranges.some(([first = 0, , count = 0]) => id >= first && id < first + count);
}

function ownIds(): Ids {
  return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, groups: process.getgroups?.() ?? [] };
}

/** The user who mounts, given the contents of /proc/PID/uid_map and gid_map. */
export function mounterWith(uidMap: string, gidMap: string): Mounter {
  const { uid, gid } = ownIds();
  const complete = [uidMap, gidMap].every((map) => /^\s*0\s+0\s+4294967295\s*$/.test(map));
  return { uid, gid, complete, hasUid: namespaceIds(uidMap), hasGid: namespaceIds(gidMap) };
}

function mounter(): Mounter {
  const read = (name: string) => readFileSync(`/proc/self/${name}`, 'latin1');
  return mounterWith(read('uid_map'), read('gid_map'));
}

/** Undefined: ids are the same on both sides, and nothing is to be translated. */
export function identityFor(rules: IdentityRules, who: Mounter = mounter()): Identity | undefined {
  return isSameIdentity(rules) && who.complete ? undefined : new Identity(rules, who);
}

/** This process's ids as the server is told them; nobody's if they have no counterpart there. */
export function ownServerIds(identity: Identity | undefined): Ids {
  const own = ownIds();
  if (identity === undefined) return own;
  return identity.idsOf(own) ?? { uid: NOBODY, gid: NOBODY, groups: [] };
}

/** The credential of mounting itself; later calls carry their caller's. */
export function ownCredential(rules: IdentityRules): Credential {
  return authSysCredential({ machineName: hostname(), ...ownServerIds(identityFor(rules)) });
}

/**
 * Whether the kernel will let nobody make anything in a directory because of its owner, though its mode lets the user who
 * mounts: as in a namespace with one user only. That user's ids on the server; undefined: it is not so.
 */
export function outOfReach(
  rules: IdentityRules,
  directory: Pick<Fattr3, 'uid' | 'gid' | 'mode'>,
  who: Mounter = mounter(),
): Ids | undefined {
  const identity = identityFor(rules, who);
  if (identity === undefined || identity.showsOwner(directory)) return undefined;
  const own = ownServerIds(identity);
  const { mode } = directory;
  const inGroup = own.gid === directory.gid || own.groups.includes(directory.gid);
  const needed = own.uid === directory.uid ? 0o200 : inGroup ? 0o020 : 0o002;
  return (mode & needed) === 0 ? undefined : own;
}
