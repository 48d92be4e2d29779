/**
 * The rights that the server grants (ACCESS, RFC 1813 3.3.4), kept per inode and credential. The server decides:
 * mode bits are never asked, since root squash and ACLs show only here.
 */

import type { Inode } from '../cache/inode.js';
import type { UserCredential } from '../caller/caller.js';

/** Users of one object that are remembered; the one that was asked for first gives way. */
const MAX_USERS = 32;

/** The ACCESS bits granted, if all of `wanted` were asked for since the permissions last changed. */
export function knownAccess(inode: Inode, { id }: UserCredential, wanted: number): number | undefined {
  const known = inode.access?.find(({ credential }) => credential === id);
  if (known === undefined || known.accessGeneration !== inode.accessGeneration) return undefined;
  return (known.asked & wanted) === wanted ? known.granted : undefined;
}

/** `accessGeneration` is the inode's that the answer is good for. */
export function rememberAccess(
  inode: Inode,
  { id }: UserCredential,
  asked: number,
  granted: number,
  accessGeneration: number,
): void {
  const answer = { credential: id, asked, granted, accessGeneration };
  inode.access ??= [];
  const at = inode.access.findIndex(({ credential }) => credential === id);
  if (at >= 0) inode.access[at] = answer;
  else if (inode.access.push(answer) > MAX_USERS) inode.access.shift();
}
