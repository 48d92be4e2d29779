/**
 * The data that UNSTABLE writes have overwritten, until a COMMIT makes these writes stable. Tests so simulate a server
 * that crashes and loses them. Owns the copies of the overwritten data. Keeps nothing when it is switched off.
 *
 * Files are known by their handles: a file with several names may be forgotten and found again as another ServedObject.
 */
import { fstatSync, ftruncateSync, readSync, writeSync } from 'node:fs';
import type { FileHandle } from '../../programs/nfs3/index.js';

interface BeforeImage {
  readonly offset: number;
  readonly bytes: Buffer;
  /** Size of the file before the write. */
  readonly size: number;
}

export class UncommittedWrites {
  readonly enabled: boolean;
  readonly #images = new Map<FileHandle, BeforeImage[]>();

  constructor(enabled: boolean) {
    this.enabled = enabled;
  }

  /** Before an UNSTABLE write: `descriptor` is open for reading and writing. */
  record(file: FileHandle, descriptor: number, offset: number, length: number): void {
    if (!this.enabled) return;
    const size = fstatSync(descriptor).size;
    const bytes = Buffer.alloc(Math.max(0, Math.min(length, size - offset)));
    for (let done = 0; done < bytes.length; ) {
      const read = readSync(descriptor, bytes, done, bytes.length - done, offset + done);
      if (read === 0) break;
      done += read;
    }
    const images = this.#images.get(file) ?? [];
    images.push({ offset, bytes, size });
    this.#images.set(file, images);
  }

  /** All data written to the file so far is stable. */
  committed(file: FileHandle): void {
    this.#images.delete(file);
  }

  /** Files that would lose data in a crash. */
  get files(): readonly FileHandle[] {
    return [...this.#images.keys()];
  }

  /** The crash: the file is as it was at its last COMMIT. */
  undo(file: FileHandle, descriptor: number): void {
    for (const { offset, bytes, size } of (this.#images.get(file) ?? []).reverse()) {
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(descriptor, bytes, done, bytes.length - done, offset + done);
      }
      ftruncateSync(descriptor, size);
    }
    this.#images.delete(file);
  }
}
