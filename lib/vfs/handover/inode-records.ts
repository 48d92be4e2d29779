/** Records of the inodes that the kernel holds: node id, handle, where it was last seen, and how it looked when it was recorded. */

import {
  type Fattr3,
  type FileHandle,
  type FileName,
  FileType,
  type NfsTime,
  NO_NAME,
} from '../../programs/nfs3/index.js';
import { type KeptRecord, type RecordMemory, type RecordRef, RecordsError } from '../../records/index.js';
import { Inode } from '../cache/inode.js';
import type { InodeRecords } from '../cache/inode-table.js';

import { KeptRecords, RecordKind, RecordText } from './record-text.js';

const NLOOKUP = 0;

/** An inode as it was recorded. */
export interface InodeFound {
  readonly ref: RecordRef;
  readonly stamp: number;
  readonly nodeid: number;
  readonly nlookup: number;
  /** 0: it was not known. */
  readonly parent: number;
  readonly handle: FileHandle;
  readonly name: FileName;
  /** Perhaps older than what was known last. */
  readonly attributes: Fattr3 | undefined;
}

/** Places of numbers: of 64-bit ones in units of 8 bytes, of others in units of 4. The texts come behind them. */
const Wide = { NODEID: 0, PARENT: 1, SIZE: 2, FSID: 3, FILEID: 4 } as const;
const Word = {
  TYPE: 10,
  MODE: 11,
  NLINK: 12,
  UID: 13,
  GID: 14,
  MTIME: 15,
  CTIME: 17,
  HANDLE_LENGTH: 19,
  NAME_LENGTH: 20,
} as const;
const TEXTS = 84;
const MOST_BYTES = 1488;
/** FUSE_NAME_MAX. */
const MOST_NAME = 1024;

/**
 * The form of an inode's record. There is one for each inode that the kernel is told of, and each mount begins with thousands
 * of them: numbers have fixed places, so that there is little to do and little for the engine to compile.
 */
class InodeForm {
  readonly #wide = new BigUint64Array(MOST_BYTES / 8);
  readonly #numbers = new Float64Array(this.#wide.buffer);
  readonly #words = new Uint32Array(this.#wide.buffer);
  readonly bytes = Buffer.from(this.#wide.buffer);

  /**
   * Answers the length in bytes. It is one long function on purpose: the engine copies short ones into each of their callers,
   * and compiles them again there.
   */
  write({ nodeid, parent, handle, name: lastName, attributes }: Inode): number {
    const words = this.#words;
    // Servers list names of any length. The kernel is told of none that is so long, and nothing is looked for by one.
    const name = lastName.length > MOST_NAME ? NO_NAME : lastName;
    const length = TEXTS + handle.length + name.length;
    this.#numbers[Wide.NODEID] = nodeid;
    this.#numbers[Wide.PARENT] = parent === undefined ? 0 : parent.nodeid;
    words[Word.TYPE] = 0;
    if (attributes !== undefined) {
      const wide = this.#wide;
      const { mtime, ctime } = attributes;
      wide[Wide.SIZE] = attributes.size;
      wide[Wide.FSID] = attributes.fsid;
      wide[Wide.FILEID] = attributes.fileid;
      words[Word.TYPE] = attributes.type;
      words[Word.MODE] = attributes.mode;
      words[Word.NLINK] = attributes.nlink;
      words[Word.UID] = attributes.uid;
      words[Word.GID] = attributes.gid;
      words[Word.MTIME] = mtime.seconds;
      words[Word.MTIME + 1] = mtime.nanoseconds;
      words[Word.CTIME] = ctime.seconds;
      words[Word.CTIME + 1] = ctime.nanoseconds;
    }
    words[Word.HANDLE_LENGTH] = handle.length;
    words[Word.NAME_LENGTH] = name.length;
    this.bytes.write(handle, TEXTS, 'latin1');
    this.bytes.write(name, TEXTS + handle.length, 'latin1');
    return length;
  }

  /** @throws RecordsError for content that {@link write} has not written */
  read(content: Buffer): Omit<InodeFound, 'ref' | 'stamp' | 'nlookup'> {
    content.copy(this.bytes);
    const handleEnd = TEXTS + this.#word(Word.HANDLE_LENGTH);
    const end = handleEnd + this.#word(Word.NAME_LENGTH);
    if (content.length !== end || end > MOST_BYTES)
      throw new RecordsError('damaged', 'the record of an inode has another length');
    const type = this.#word(Word.TYPE);
    return {
      nodeid: this.#numbers[Wide.NODEID] ?? 0,
      parent: this.#numbers[Wide.PARENT] ?? 0,
      handle: this.bytes.toString('latin1', TEXTS, handleEnd) as FileHandle,
      name: this.bytes.toString('latin1', handleEnd, end) as FileName,
      attributes: isFileType(type) ? this.#readAttributes(type) : undefined,
    };
  }

  #readAttributes(type: FileType): Fattr3 {
    const size = this.#wide[Wide.SIZE] ?? 0n;
    const mtime = this.#time(Word.MTIME);
    return {
      type,
      mode: this.#word(Word.MODE),
      nlink: this.#word(Word.NLINK),
      uid: this.#word(Word.UID),
      gid: this.#word(Word.GID),
      size,
      used: size,
      rdevMajor: 0,
      rdevMinor: 0,
      fsid: this.#wide[Wide.FSID] ?? 0n,
      fileid: this.#wide[Wide.FILEID] ?? 0n,
      atime: mtime,
      mtime,
      ctime: this.#time(Word.CTIME),
    };
  }

  #word(place: number): number {
    return this.#words[place] ?? 0;
  }

  #time(place: number): NfsTime {
    return { seconds: this.#word(place), nanoseconds: this.#word(place + 1) };
  }
}

const FORM = new InodeForm();
const FILE_TYPES: readonly number[] = Object.values(FileType);

function isFileType(type: number): type is FileType {
  return FILE_TYPES.includes(type);
}

/** Enough for the engine to compile all of it. They take some milliseconds. */
const REHEARSALS = 1_500;
/** Each inode of so many is seen to move. */
const ANY_MOVES = 8;
/** Lengths that are usual. */
const ANY_HANDLE = '\0'.repeat(40) as FileHandle;
const ANY_NAME = 'a-usual-name.c' as FileName;
const ANY_TIME = { seconds: 1, nanoseconds: 1 };
/** In the order in which a reply has them, so that the engine takes both for objects of one shape. */
const ANY_ATTRIBUTES: Fattr3 = {
  type: FileType.REG,
  mode: 0o644,
  nlink: 1,
  uid: 0,
  gid: 0,
  size: 1n,
  used: 1n,
  rdevMajor: 0,
  rdevMinor: 0,
  fsid: 1n,
  fileid: 1n,
  atime: ANY_TIME,
  mtime: ANY_TIME,
  ctime: ANY_TIME,
};

export class KeptInodes extends KeptRecords implements InodeRecords {
  held(inode: Inode): void {
    if (inode.record === 0) inode.record = this.#put(inode);
    else this.memory.setCell(inode.record, NLOOKUP, inode.nlookup);
  }

  moved(inode: Inode): void {
    const before = inode.record;
    inode.record = this.#put(inode);
    this.memory.free(before);
  }

  gone(inode: Inode): void {
    this.memory.free(inode.record);
    inode.record = 0;
  }

  #put(inode: Inode): RecordRef {
    return this.memory.put(RecordKind.INODE, [inode.nlookup], FORM.bytes, FORM.write(inode));
  }
}

/**
 * Writes records of things that do not exist into a new state, and leaves none. A mount begins with thousands of records within
 * a second, and the engine is slow with code that it has not compiled: it has done so when the kernel asks.
 */
export function rehearseRecords(memory: RecordMemory): void {
  const inodes = new KeptInodes(memory, new RecordText());
  const directory = new Inode(1, ANY_HANDLE);
  const made = Array.from({ length: ANY_MOVES }, (_, index) => inodeIn(directory, index));
  for (let round = 0; round < REHEARSALS; round++) {
    const inode = made[round % ANY_MOVES] ?? directory;
    inode.nlookup = 1;
    inodes.held(inode);
    inode.nlookup = 2;
    inodes.held(inode);
    if (round % ANY_MOVES === 0) inodes.moved(inode);
    inodes.gone(inode);
  }
}

function inodeIn(directory: Inode, index: number): Inode {
  const inode = new Inode(index + 2, ANY_HANDLE);
  inode.parent = directory;
  inode.name = ANY_NAME;
  inode.attributes = ANY_ATTRIBUTES;
  return inode;
}

export function readInode({ ref, stamp, cells, content }: KeptRecord): InodeFound {
  return { ref, stamp, nlookup: cells[NLOOKUP] ?? 0, ...FORM.read(content) };
}
