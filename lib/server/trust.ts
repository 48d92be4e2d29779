/**
 * How far the server can trust the machine that it runs on: whether a low port proves anything, whether root here is
 * root of the machine, and whether the server can act as different users.
 */
import { readFileSync } from 'node:fs';
import { ServedUsers } from './served-users.js';

/** Only root can give a program a port below this (ip(7), "privileged ports"). */
const FIRST_FREE_PORT = 1024;
/** Squashed callers, unless the options say otherwise. */
export const NOBODY = 65534;

export function isReservedPort(port: number): boolean {
  return port > 0 && port < FIRST_FREE_PORT;
}

/**
 * Whether programs without privilege may have ports below 1024 in this network namespace: ip_unprivileged_port_start
 * of ip(7), which engines of containers set to 0. Then such a port proves nothing.
 */
export function isUnprivilegedPortFree(): boolean {
  try {
    return Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'latin1')) < FIRST_FREE_PORT;
  } catch {
    // Before Linux 4.11.
    return false;
  }
}

/** Whether this process may act as its callers, and does not do everything as its own user. */
export function canActAsCallers(): boolean {
  return new ServedUsers({
    rootSquash: true,
    allSquash: false,
    anonymousUid: NOBODY,
    anonymousGid: NOBODY,
  }).impersonating;
}

/** Whether this process is root of the machine, and not an ordinary user that is root in a user namespace. */
export function isRootOutside(): boolean {
  if (process.geteuid?.() !== 0) return false;
  try {
    const maps = readFileSync('/proc/self/uid_map', 'latin1').trim().split('\n');
    return maps.some((line) => /^\s*0\s+0\s/.test(line));
  } catch {
    return true;
  }
}

/** Squashing was asked for, but the server cannot act as any other user. */
export class CannotSquashError extends Error {
  override readonly name = 'CannotSquashError';
}

/** Throws CannotSquashError. `options` are those that were given explicitly, without the defaults. */
export function requireSquashable(
  options: {
    readonly rootSquash?: boolean | undefined;
    readonly allSquash?: boolean | undefined;
    readonly anonymousUid?: number | undefined;
    readonly anonymousGid?: number | undefined;
  },
  impersonating: boolean,
): void {
  const { rootSquash, allSquash, anonymousUid, anonymousGid } = options;
  const wanted = rootSquash === true || allSquash === true || (anonymousUid ?? anonymousGid) !== undefined;
  if (!wanted || impersonating) return;
  throw new CannotSquashError(
    `callers cannot be squashed: this process (uid ${process.geteuid?.()}) may not act as other users, ` +
      'so that all calls are carried out as its own user',
  );
}
