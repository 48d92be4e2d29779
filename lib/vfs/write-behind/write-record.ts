/**
 * Records of data that programs believe to be written, for the next process of this mount, should there be one. Owns the
 * interface; lib/vfs/handover implements it.
 */
import type { Sattr3 } from '../../programs/nfs3/index.js';
import type { Inode } from '../cache/inode.js';
import type { UserCredential } from '../caller/caller.js';

/** The last append that was sent: a request that comes again must not append again. */
export interface LastAppend {
  /** The kernel's number for the request. */
  readonly unique: number;
  readonly offset: number;
}

/** A place for data in memory that outlives this process. */
export interface Room {
  readonly bytes: Buffer;
}

/** Data that a program has written. */
export interface TakenData {
  /** Numbers the writes of a file in the order in which they count. */
  readonly sequence: number;
  readonly offset: number;
  readonly data: Uint8Array;
  readonly credential: UserCredential;
  /** Where the data lies already; undefined: elsewhere. */
  readonly room?: Room | undefined;
}

/** The data of one file that is on its way to stable storage. Offsets and ends in bytes. */
export interface WriteRecord {
  /** Taken from a program, which goes on. To be called before it is answered. Data in no room is copied, where there is memory. */
  taken(data: TakenData): void;
  /**
   * A place for at least so many bytes of data with this number. It is used again after {@link stableBelow} a higher one, when nobody
   * may need the data any more. Undefined: there is none.
   */
  room(length: number, sequence: number): Room | undefined;
  /** All that was taken in this room has been taken once more elsewhere. */
  left(room: Room): void;
  /** All that was taken with lower numbers is on stable storage, or counted as lost. */
  stableBelow(sequence: number): void;
  /** The file has been cut to so many bytes, or extended, after what was taken up to this number. */
  cutTo(size: number, upTo: number): void;
  /** It has reached the server, which may lose it in a restart. */
  reached(offset: number, end: number, verifier: string | undefined): void;
  /** All that was taken has reached the server. */
  allReached(): void;
  /** All of it is on stable storage, or counted as lost. */
  settled(): void;
  /** Data without a copy counts as lost from now on, and is recorded no more. Copies stay. */
  told(): void;
  /** `count` write errors have been met. */
  errors(count: number): void;
  /** This append is about to be sent. */
  appends(append: LastAppend): void;
  /**
   * These attributes were set by a program that goes on, and the server is to be asked for them after the data. Undefined: for none.
   * False: there is no room for it.
   */
  sets(changes: Sattr3 | undefined, credential: UserCredential | undefined): boolean;
  /** Nobody has the file open any more. */
  ended(): void;
}

export interface WriteRecords {
  /** `inode` is open for writing. */
  of(inode: Inode): WriteRecord;
  /** Until {@link endReading}, rooms keep their data though nobody needs it any more. */
  beginReading(): void;
  endReading(): void;
  /** Nothing is being written: memory for the next data need not be kept ready. */
  trim(): void;
}
