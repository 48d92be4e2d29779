/** The process that mounts: its own ids and those of its user namespace, as the identity options need them. */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { authSysCredential, type Credential } from '../rpc/credential.js';
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

function mounter(): Mounter {
  const { uid, gid } = ownIds();
  return {
    uid,
    gid,
    hasUid: namespaceIds(readFileSync('/proc/self/uid_map', 'latin1')),
    hasGid: namespaceIds(readFileSync('/proc/self/gid_map', 'latin1')),
  };
}

/** Undefined: ids are the same on both sides, and nothing is to be translated. */
export function identityFor(rules: IdentityRules): Identity | undefined {
  return isSameIdentity(rules) ? undefined : new Identity(rules, mounter());
}

/** This process's ids as the server is told them; nobody's if they have no counterpart there. */
export function ownServerIds(identity: Identity | undefined): Ids {
  const own = ownIds();
  if (identity === undefined) return own;
  return identity.idsOf(own) ?? { uid: NOBODY, gid: NOBODY, groups: [] };
}

/** What mounting itself is done with; later calls carry their caller's credential. */
export function ownCredential(rules: IdentityRules): Credential {
  return authSysCredential({ machineName: hostname(), ...ownServerIds(identityFor(rules)) });
}
