/**
 * Records of data that programs believe to be written, for the next process of this mount, should there be one. Owns the
 * interface; lib/vfs/handover implements it.
 */
import type { Inode } from '../cache/inode.js';

/** The last append that was sent: a request that comes again must not append again. */
export interface LastAppend {
  /** The kernel's number for the request. */
  readonly unique: number;
  readonly offset: number;
}

/** The data of one file that is on its way to stable storage. Offsets and ends in bytes. */
export interface WriteRecord {
  /** Taken from a program that goes on; it has not reached the server. To be called before the program is answered. */
  taken(offset: number, end: number): void;
  /** It has reached the server, which may lose it in a restart. */
  reached(offset: number, end: number, verifier: string | undefined): void;
  /** All that was taken has reached the server. */
  allReached(): void;
  /** All of it is on stable storage, or counted as lost. */
  settled(): void;
  /** So many write errors have been met. */
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
