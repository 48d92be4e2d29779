/** An attribute cache of its own, and the attributes of a file as it changes. */
import {
  type Fattr3,
  type FileHandle,
  FileType,
  type WccAttributes,
} from '../../../lib/programs/nfs3/index.js';
import { AttributeCache } from '../../../lib/vfs/cache/attribute-cache.js';
import { Inode } from '../../../lib/vfs/cache/inode.js';
import { type ClientConfig, DEFAULT_CONFIG } from '../../../lib/vfs/config.js';
import { CacheCounters } from '../../../lib/vfs/counters.js';
import { ManualClock } from '../../rpc/support/manual-clock.js';

/** The cache with an inode that nothing is known of; `events` names what it tells, in order. */
export function attributeCache(config: Partial<ClientConfig> = {}) {
  const clock = new ManualClock();
  const events: string[] = [];
  const counters = new CacheCounters();
  const cache = new AttributeCache(
    { ...DEFAULT_CONFIG, host: 'h', exportPath: Buffer.from('/'), ...config },
    () => clock.now(),
    counters,
    {
      changedByOther: () => void events.push('foreign'),
      changedHere: () => {},
      identityChanged: () => void events.push('identity'),
      ownershipChanged: () => void events.push('ownership'),
    },
  );
  const inode = new Inode(2, 'handle' as FileHandle);
  const observe = (attributes: Fattr3 | undefined) => cache.observe(inode, attributes, cache.start());
  return { clock, events, counters, cache, inode, observe };
}

/** A file as after `state` changes: each moves size, mtime and ctime. */
export function file(state: number, more: Partial<Fattr3> = {}): Fattr3 {
  const time = { seconds: 1000, nanoseconds: state + 1 };
  return {
    type: FileType.REG,
    mode: 0o644,
    nlink: 1,
    uid: 1,
    gid: 1,
    size: BigInt(state),
    used: 0n,
    rdevMajor: 0,
    rdevMinor: 0,
    fsid: 1n,
    fileid: 5n,
    atime: time,
    mtime: time,
    ctime: time,
    ...more,
  };
}

/** How the file looked before a change, in wcc data. */
export const before = (state: number): WccAttributes => file(state);

/** The ctime of every state, rounded down. */
export const rounded = { seconds: 1000, nanoseconds: 0 };
/** Later and earlier than the ctime of any state. */
export const later = { seconds: 1002, nanoseconds: 7 };
export const earlier = { seconds: 900, nanoseconds: 5 };
