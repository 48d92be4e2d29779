/**
 * Leftovers of silly renames: `.nfsXXXX` files whose client ended without removing them. Finds them in an
 * export, by name and age, and removes them when told to.
 */
import {
  type FileName,
  FileType,
  isDots,
  LOOKUP,
  REMOVE,
  Status,
  statusName,
} from '../../programs/nfs3/index.js';
import type { CurrentAttributes } from '../attributes/current-attributes.js';
import type { DentryCache } from '../cache/dentry-cache.js';
import { describePath, type Inode } from '../cache/inode.js';
import type { InodeTable } from '../cache/inode-table.js';
import type { OpenObjects } from '../cache/open-objects.js';
import type { Caller } from '../caller/caller.js';
import type { KernelReplies } from '../kernel/kernel-replies.js';
import type { Binding } from '../names/name-binding.js';
import { isSillyName } from '../names/silly-rename.js';
import type { Exchange } from '../remote/exchange.js';
import { ofDirectory } from '../remote/exchange.js';
import type { NfsClient } from '../remote/nfs-client.js';
import type { ListingNeeds } from './listing.js';
import { Listing } from './listing.js';

/** The parts of the mount that this needs. */
export interface SweepNeeds extends ListingNeeds {
  readonly binding: Binding;
  readonly current: CurrentAttributes;
  readonly dentries: DentryCache;
  readonly exchange: Exchange;
  readonly inodes: InodeTable;
  readonly nfs: NfsClient;
  readonly open: OpenObjects;
  readonly replies: KernelReplies;
}

export interface Leftover {
  /** From the export's root, as text for people; `name` and `directory` are what is acted on. */
  readonly path: string;
  readonly directory: Inode;
  readonly name: FileName;
  readonly inode: Inode;
  readonly bytes: bigint;
  /** Since the file lost its name or was last changed, by its ctime and our clock. */
  readonly ageMs: number;
}

export interface SweepOptions {
  readonly olderThanMs: number;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
  /** Told of each directory that could not be read: the sweep goes on without it. */
  readonly unreadable: (path: string, error: unknown) => void;
}

/** Walks the whole export, directory by directory, and yields the leftovers of at least the age given. */
export async function* findLeftovers(
  vfs: SweepNeeds,
  caller: Caller,
  options: SweepOptions,
): AsyncGenerator<Leftover> {
  const waiting: Inode[] = [vfs.inodes.root];
  for (;;) {
    const directory = waiting.pop();
    if (directory === undefined) return;
    // The table keeps what somebody has open, and nothing else while a large tree goes by.
    vfs.open.open(directory);
    try {
      const listing = new Listing(vfs, directory);
      for (let index = 0; ; index++) {
        await listing.load(index, true, caller);
        const entry = listing.entry(index);
        if (entry === undefined) break;
        const { name } = entry;
        if (isDots(name)) continue;
        if (entry.type !== undefined && entry.type !== FileType.DIR && !isSillyName(name)) continue;
        const inode = await resolve(vfs, directory, name, caller);
        if (inode?.attributes === undefined) continue;
        if (inode.isDirectory && inode.attributes.fsid === vfs.replies.rootFsid) waiting.push(inode);
        if (!inode.isRegular || !isSillyName(name)) continue;
        const ageMs = options.nowMs - inode.attributes.ctime.seconds * 1000;
        if (ageMs < options.olderThanMs) continue;
        yield { path: describePath(inode), directory, name, inode, bytes: inode.attributes.size, ageMs };
      }
    } catch (error) {
      options.unreadable(describePath(directory), error);
    } finally {
      vfs.open.close(directory);
    }
  }
}

/** The inode of an entry, asked for where READDIRPLUS did not bring it. */
async function resolve(
  vfs: SweepNeeds,
  directory: Inode,
  name: FileName,
  caller: Caller,
): Promise<Inode | undefined> {
  const known = vfs.dentries.get(directory, name)?.inode;
  if (known?.attributes !== undefined) return known;
  const { generation } = directory;
  const { result, start } = await vfs.exchange.ask(
    directory,
    caller,
    (handle) => vfs.nfs.call(LOOKUP, { directory: handle, name }, caller),
    ofDirectory,
  );
  if (result.status !== Status.OK) return undefined;
  const { object: handle, attributes } = result;
  const inode = vfs.binding.bind({ parent: directory, name, handle, attributes, start, generation });
  if (inode.attributes === undefined) await vfs.current.fetch(inode, caller);
  return inode;
}

/** Removes a leftover, if its name still stands for the same file. Answers why not, or undefined if it is gone. */
export async function removeLeftover(
  vfs: SweepNeeds,
  leftover: Leftover,
  caller: Caller,
): Promise<string | undefined> {
  const where = { directory: leftover.directory.handle, name: leftover.name };
  const present = await vfs.nfs.call(LOOKUP, where, caller);
  if (present.status === Status.NOENT) return undefined;
  if (present.status !== Status.OK) return statusName(present.status);
  if (present.object !== leftover.inode.handle) return 'the name stands for another file by now';
  const result = await vfs.nfs.call(REMOVE, where, caller);
  return result.status === Status.OK || result.status === Status.NOENT
    ? undefined
    : statusName(result.status);
}
