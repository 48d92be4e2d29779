/** The records of an earlier process, sorted by kind. */
import { inPieces } from '../../base/in-pieces.js';
import { type KeptRecord, type RecordMemory, type RecordRef, RecordsError } from '../../records/index.js';
import type { Credentials } from '../caller/caller.js';
import type { LockNote } from '../locks/lock-notes.js';
import { type InodeFound, readInode } from './inode-records.js';
import { type AttributesFound, readAttributes } from './kept-attributes.js';
import { type CopyFound, readCopy } from './kept-data.js';
import { type LocksFound, readLockNote, readLocks } from './kept-locks.js';
import { type DirectoryFound, type FileFound, readDirectory, readFile } from './open-records.js';
import { RecordKind } from './record-text.js';
import { type RequestFound, readRequest } from './request-records.js';
import { readSilly, type SillyFound } from './silly-records.js';
import { readWrites, type WritesFound } from './write-records.js';

export interface FoundRecords {
  /** By node id. */
  readonly inodes: ReadonlyMap<number, InodeFound>;
  readonly files: readonly FileFound[];
  readonly directories: readonly DirectoryFound[];
  readonly writes: readonly WritesFound[];
  /** Of each file the last ones. */
  readonly attributes: readonly AttributesFound[];
  readonly silly: readonly SillyFound[];
  readonly locks: readonly LocksFound[];
  /** Of each file in the order in which its data was written. */
  readonly copies: readonly CopyFound[];
  readonly requests: readonly RequestFound[];
  readonly lockNotes: readonly { readonly ref: RecordRef; readonly note: LockNote }[];
  /** Of no use: what took their place was written, and the process died before they went. */
  readonly outdated: readonly RecordRef[];
}

/** @throws RecordsError without any: the mount was never served */
export function findCounters(memory: RecordMemory): KeptRecord {
  for (const record of memory.records()) if (record.kind === RecordKind.COUNTERS) return record;
  throw new RecordsError('damaged', 'the state of the mount has no beginning');
}

/** In pieces, between which other work is done. @throws RecordsError for records that are not as this program writes them */
export async function findRecords(memory: RecordMemory, credentials: Credentials): Promise<FoundRecords> {
  const outdated: RecordRef[] = [];
  const inodes = new Map<number, InodeFound>();
  const directories = new Map<number, DirectoryFound>();
  const attributes = new Map<number, AttributesFound>();
  const files: FileFound[] = [];
  const writes: WritesFound[] = [];
  const silly: SillyFound[] = [];
  const copies: CopyFound[] = [];
  const requests: RequestFound[] = [];
  const lockRecords: KeptRecord[] = [];
  const lockNotes: { ref: RecordRef; note: LockNote }[] = [];
  const find = (record: KeptRecord): void => {
    switch (record.kind) {
      case RecordKind.COUNTERS:
      case RecordKind.EXPORT:
        break;
      case RecordKind.INODE: {
        const inode = readInode(record);
        keepNewer(inodes, inode.nodeid, inode, outdated);
        break;
      }
      case RecordKind.FILE:
        files.push(readFile(record, credentials));
        break;
      case RecordKind.DIRECTORY: {
        const directory = readDirectory(record);
        keepNewer(directories, directory.fh, directory, outdated);
        break;
      }
      case RecordKind.WRITES:
        writes.push(readWrites(record));
        break;
      case RecordKind.ATTRIBUTES: {
        const one = readAttributes(record, credentials);
        keepNewer(attributes, one.nodeid, one, outdated);
        break;
      }
      case RecordKind.SILLY:
        silly.push(readSilly(record, credentials));
        break;
      case RecordKind.DATA:
        copies.push(readCopy(record, credentials));
        break;
      case RecordKind.REQUEST:
        requests.push(readRequest(record));
        break;
      case RecordKind.LOCKS:
        lockRecords.push(record);
        break;
      case RecordKind.LOCK_NOTE:
        lockNotes.push({ ref: record.ref, note: readLockNote(record) });
        break;
      default:
        throw new RecordsError('damaged', `there is a record of unknown kind ${record.kind}`);
    }
  };
  for await (const piece of inPieces(memory.records())) for (const record of piece) find(record);
  const { locks, outdated: oldLocks } = readLocks(lockRecords);
  return {
    inodes,
    directories: [...directories.values()],
    files,
    writes,
    attributes: [...attributes.values()],
    silly,
    copies: copies.sort((one, other) => one.sequence - other.sequence || one.stamp - other.stamp),
    requests,
    locks,
    lockNotes,
    outdated: [...outdated, ...oldLocks],
  };
}

function keepNewer<One extends { readonly ref: RecordRef; readonly stamp: number }>(
  known: Map<number, One>,
  key: number,
  one: One,
  outdated: RecordRef[],
): void {
  const other = known.get(key);
  const isNewer = other === undefined || other.stamp < one.stamp;
  if (isNewer) known.set(key, one);
  const old = isNewer ? other : one;
  if (old !== undefined) outdated.push(old.ref);
}
