/**
 * How the server has answered so far when it was asked to set attributes, by file system and user. Owns the certainty that it will
 * do the next time what it did the last time: there are file systems without owners, and users who may not do what others may.
 */
import type { Fattr3, Sattr3 } from '../../programs/nfs3/index.js';

type Kind = 'mode' | 'owner' | 'times';

/** More file systems and users than a mount has at a time. */
const MOST = 1024;

function kindsOf({ mode, uid, gid, atime, mtime }: Sattr3): readonly Kind[] {
  const kinds: Kind[] = [];
  if (mode !== undefined) kinds.push('mode');
  if (uid !== undefined || gid !== undefined) kinds.push('owner');
  if (atime !== undefined || mtime !== undefined) kinds.push('times');
  return kinds;
}

/** Whether a file looks as it was asked for. Servers round times, each in its own way. */
function isDone(kind: Kind, { mode, uid, gid }: Sattr3, after: Fattr3): boolean {
  switch (kind) {
    case 'mode':
      return mode === (after.mode & 0o7777);
    case 'owner':
      return (uid ?? after.uid) === after.uid && (gid ?? after.gid) === after.gid;
    case 'times':
      return true;
  }
}

export class SettingEvidence {
  readonly #done = new Map<string, Set<Kind>>();

  /** A file of `fsid` looks like `after` once `uid` has set `changes`. Undefined: the server has refused to set them. */
  answered(fsid: bigint, uid: number, changes: Sattr3, after: Fattr3 | undefined): void {
    const key = `${fsid} ${uid}`;
    const done = this.#done.get(key) ?? new Set();
    for (const kind of kindsOf(changes))
      if (after !== undefined && isDone(kind, changes, after)) done.add(kind);
      else done.delete(kind);
    if (this.#done.size >= MOST) this.#done.clear();
    this.#done.set(key, done);
  }

  /** Whether the server has done as much for this user, there, when it was last asked. */
  covers(fsid: bigint, uid: number, changes: Sattr3): boolean {
    const done = this.#done.get(`${fsid} ${uid}`);
    return done !== undefined && kindsOf(changes).every((kind) => done.has(kind));
  }
}
