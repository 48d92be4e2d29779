/**
 * Records of data that programs believe to be written, for the next process of this mount, should there be one. Owns the
 * interface; lib/vfs/handover implements it.
 */
import type { Inode } from '../cache/inode.js';
import type { UserCredential } from '../caller/caller.js';

/** The last append that was sent: a request that comes again must not append again. */
export interface LastAppend {
  /** The kernel's number for the request. */
  readonly unique: number;
  readonly offset: number;
}

/** Data that a program has written. */
export interface TakenData {
  /** Numbers the writes of a file in the order in which they count. */
  readonly sequence: number;
  readonly offset: number;
  readonly data: Uint8Array;
  readonly credential: UserCredential;
}

/** The data of one file that is on its way to stable storage. Offsets and ends in bytes. */
export interface WriteRecord {
  /** Taken from a program, which goes on. To be called before it is answered; the data is copied, where there is room. */
  taken(data: TakenData): void;
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
  /** `count` write errors have been met. */
  errors(count: number): void;
  /** This append is about to be sent. */
  appends(append: LastAppend): void;
  /** Nobody has the file open any more. */
  ended(): void;
}

export interface WriteRecords {
  /** `inode` is open for writing. */
  of(inode: Inode): WriteRecord;
}
