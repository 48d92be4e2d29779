/**
 * Records of open files, for the next process of this mount, should there be one. Owns the interface; lib/vfs/handover
 * implements it.
 */
import type { KernelRequest } from '../caller/caller.js';
import type { OpenFile } from './open-file.js';

/** An open file as an earlier process of this mount has recorded it. */
export interface RecordedFile
  extends Pick<OpenFile, 'fh' | 'flags' | 'credential' | 'errorsSeen' | 'told' | 'record'> {
  /** The kernel's number for the request that opened it. */
  readonly unique: number;
}

export interface FileRecords {
  /** To be called before the kernel is told of the open file. */
  opened(file: OpenFile, request: KernelRequest | undefined): void;
  /** Another number of errors was reported through the file ({@link OpenFile.errorsSeen}, {@link OpenFile.told}). */
  errorsSeen(file: OpenFile): void;
  closed(file: OpenFile): void;
}
