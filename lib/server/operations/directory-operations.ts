/** READDIR and READDIRPLUS: as many entries as fit, counted to the byte. */
import {
  type DirectoryEntry,
  type DirectoryEntryPlus,
  DOT,
  DOT_DOT,
  type FileHandle,
  type FileName,
  FileType,
  type ReaddirArguments,
  type ReaddirplusArguments,
  type ReaddirplusResult,
  type ReaddirResult,
  Status,
} from '../../programs/nfs3/index.js';
import type { ServedUser } from '../served-users.js';
import { NfsError, statusOfError } from '../status-error.js';
import { cString } from '../system-calls-at.js';
import { type FileStat, statAt } from '../tree/file-stat.js';
import { HANDLE_SIZE } from '../tree/handle.js';
import { indexAfter, type ListedEntry, type ServedListing } from '../tree/served-listing.js';
import type { ServedObject } from '../tree/served-object.js';
import type { ExportedTree } from '../tree/tree.js';
import { isAllowed, MAY_EXECUTE, MAY_READ } from './access.js';
import { enter, type Place } from './name-operations.js';

/** Status, attributes of the directory, verifier; end of the list, and eof. */
const FRAME_BYTES = 4 + (4 + 84) + 8 + 4 + 4;
/** "One more follows", fileid, length of the name, cookie. */
const ENTRY_BYTES = 4 + 8 + 4 + 8;
const ATTRIBUTES_BYTES = 4 + 84;
const HANDLE_BYTES = 4 + 4 + HANDLE_SIZE;
const ABSENT = 4;
/** The most bytes of one reply, also for a client with more room: other clients would have to wait. */
const MOST = 1024 * 1024;

function nameBytes(name: FileName): number {
  return (name.length + 3) & ~3;
}

/** The same for all directories: cookies have the same meaning in every listing. */
function verifierOf(tree: ExportedTree): Buffer {
  const verifier = Buffer.from('nfsfdir\0', 'latin1');
  verifier.writeUInt32BE(tree.table.salt, 4);
  return verifier;
}

interface Position {
  readonly place: Place;
  readonly listing: ServedListing;
  readonly cookie: number;
  readonly verifier: Buffer;
}

/** Throws NFS3ERR_BAD_COOKIE for a cookie or verifier that is not ours, and as `enter` does. */
function open(
  tree: ExportedTree,
  directory: ServedObject,
  args: { readonly cookie: bigint; readonly cookieVerifier: Uint8Array },
  caller: ServedUser,
): Position {
  const place = enter(tree, directory);
  const verifier = verifierOf(tree);
  if (args.cookie !== 0n && !verifier.equals(args.cookieVerifier)) throw new NfsError(Status.BAD_COOKIE);
  if (args.cookie > BigInt(Number.MAX_SAFE_INTEGER)) throw new NfsError(Status.BAD_COOKIE);
  const cookie = Number(args.cookie);
  if (!isAllowed(tree, caller, place.before, place.descriptor, MAY_READ)) throw new NfsError(Status.ACCES);
  const listing = tree.listings.get(directory, place.descriptor, place.before, cookie === 0);
  return { place, listing, cookie, verifier };
}

/** First "." and "..", which are not in a listing, and then the entries of the listing. */
function* entriesFrom(tree: ExportedTree, { place, listing, cookie }: Position): Generator<ListedEntry> {
  const own = place.before.fileid;
  if (cookie < 1) yield { cookie: 1, name: DOT, fileid: own, type: FileType.DIR };
  if (cookie < 2) {
    const isRoot = place.inode === tree.table.root;
    const above = isRoot ? undefined : statAt(place.descriptor, cString('..'));
    const fileid = typeof above === 'object' ? above.fileid : own;
    yield { cookie: 2, name: DOT_DOT, fileid, type: FileType.DIR };
  }
  const { entries } = listing;
  for (let i = indexAfter(listing, cookie); i < entries.length; i++) {
    const entry = entries[i];
    if (entry !== undefined) yield entry;
  }
}

/**
 * The reply of both: `fill` puts entries into the page while there is room, and returns whether those were all.
 * NFS3ERR_TOOSMALL when there are more and not one had room.
 */
function list<Entry>(
  tree: ExportedTree,
  args: { readonly directory: FileHandle; readonly cookie: bigint; readonly cookieVerifier: Uint8Array },
  caller: ServedUser,
  fill: (position: Position, page: Entry[]) => boolean,
) {
  let directory: ServedObject | undefined;
  try {
    directory = tree.table.get(args.directory);
    const position = open(tree, directory, args, caller);
    const entries: Entry[] = [];
    const eof = fill(position, entries);
    if (!eof && entries.length === 0) throw new NfsError(Status.TOOSMALL);
    return {
      status: Status.OK,
      directoryAttributes: position.place.before,
      cookieVerifier: position.verifier,
      entries,
      eof,
    };
  } catch (error) {
    return { status: statusOfError(error), directoryAttributes: tree.tryStat(directory) };
  }
}

export function readdir(tree: ExportedTree, args: ReaddirArguments, caller: ServedUser): ReaddirResult {
  return list<DirectoryEntry>(tree, args, caller, (position, page) => {
    let room = Math.min(args.count, MOST) - FRAME_BYTES;
    for (const entry of entriesFrom(tree, position)) {
      room -= ENTRY_BYTES + nameBytes(entry.name);
      if (room < 0) return false;
      page.push({
        fileid: trueFileid(position.place, entry),
        name: entry.name,
        cookie: BigInt(entry.cookie),
      });
    }
    return true;
  });
}

/** The entry of a mount point shows the inode underneath. */
function trueFileid(place: Place, entry: ListedEntry): bigint {
  if (entry.type !== FileType.DIR || entry.cookie < 3) return entry.fileid;
  const stat = statAt(place.descriptor, cString(entry.name));
  return typeof stat === 'object' ? stat.fileid : entry.fileid;
}

export function readdirplus(
  tree: ExportedTree,
  args: ReaddirplusArguments,
  caller: ServedUser,
): ReaddirplusResult {
  return list<DirectoryEntryPlus>(tree, args, caller, (position, page) => {
    const { place } = position;
    const isSearchable = isAllowed(tree, caller, place.before, place.descriptor, MAY_EXECUTE);
    let room = Math.min(args.maxcount, MOST) - FRAME_BYTES;
    let nameRoom = Math.min(args.dircount, MOST);
    for (const entry of entriesFrom(tree, position)) {
      const bytes = ENTRY_BYTES + nameBytes(entry.name);
      // READDIR needs no look at the object. READDIRPLUS gives it attributes and a handle, or leaves it out if it is
      // gone.
      const most = bytes + (isSearchable ? ATTRIBUTES_BYTES + HANDLE_BYTES : 2 * ABSENT);
      if (room < most || nameRoom < bytes) return false;
      const seen = isSearchable ? see(tree, place, entry) : undefined;
      if (isSearchable && seen === undefined) continue;
      room -= most;
      nameRoom -= bytes;
      page.push({
        fileid: seen?.stat.fileid ?? entry.fileid,
        name: entry.name,
        cookie: BigInt(entry.cookie),
        attributes: seen?.stat,
        handle: seen?.inode.handle,
      });
    }
    return true;
  });
}

/** Undefined: the object was removed since the listing was made. */
function see(
  tree: ExportedTree,
  place: Place,
  entry: ListedEntry,
): { inode: ServedObject; stat: FileStat } | undefined {
  if (entry.cookie === 1) return { inode: place.inode, stat: place.before };
  if (entry.cookie === 2) {
    const parent = place.inode.links[0]?.directory ?? place.inode;
    const stat = tree.tryStat(parent);
    // A local process has moved it. The fileid is enough: a client that wants more can look the name up.
    return stat === undefined || stat.fileid !== entry.fileid ? undefined : { inode: parent, stat };
  }
  const cName = cString(entry.name);
  const stat = statAt(place.descriptor, cName);
  if (typeof stat === 'number') return undefined;
  return { inode: tree.table.intern(stat, place.inode, place.descriptor, entry.name, cName), stat };
}
