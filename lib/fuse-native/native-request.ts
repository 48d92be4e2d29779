/**
 * Facts about a request that libfuse has and fuse-native does not pass on. They are read from, and written to, the
 * memory that the addon shares with us while its thread waits for the answer (struct fuse_thread_locals_t of
 * fuse-native 2.2.6, struct fuse_file_info of libfuse 2.9, both on 64-bit little-endian machines).
 */
import koffi from 'koffi';
import { OpenFlag } from '../fuse/contract/protocol.js';
import type { NativeRequest } from './binding.js';

/** sizeof(fuse_thread_locals_t); another size means another layout. */
export const REQUEST_BYTES = 360;

/** Byte offsets within fuse_thread_locals_t. */
const Field = { OPERATION: 8, INFO: 48, ATIME: 104, MTIME: 112 } as const;
/** Byte offsets within struct fuse_file_info; the lowest of `BITS` is direct_io. */
const Info = { FLAGS: 0, WRITEPAGE: 16, BITS: 20 } as const;
const DIRECT_IO_BIT = 1;

/** Whether a request is what it seems: the operation that is called stands where it should. */
export function isPlausible(request: NativeRequest, operation: number): boolean {
  return request.length === REQUEST_BYTES && request.readUInt32LE(Field.OPERATION) === operation;
}

/**
 * The two times of utimens in whole milliseconds, before 1970 negative. fuse-native hands out the first one twice;
 * the second one is only here.
 */
export function requestedTimes(request: NativeRequest): { atimeMs: number; mtimeMs: number } {
  return {
    atimeMs: Number(request.readBigInt64LE(Field.ATIME)),
    mtimeMs: Number(request.readBigInt64LE(Field.MTIME)),
  };
}

/** The flags of open(2), which fuse-native does not hand out with `create`. */
export function openFlags(request: NativeRequest): number {
  return koffi.decode(request.readBigUInt64LE(Field.INFO), Info.FLAGS, 'int') as number;
}

/** Whether a write comes from the page cache (mmap): its place is the one that it says, O_APPEND or not. */
export function isPageWrite(request: NativeRequest): boolean {
  return (koffi.decode(request.readBigUInt64LE(Field.INFO), Info.WRITEPAGE, 'int') as number) !== 0;
}

/** Keeps the page cache out of reads and writes through the file that is being opened, if FOPEN_DIRECT_IO says so. */
export function applyOpenFlags(request: NativeRequest, flags: number): void {
  if ((flags & OpenFlag.DIRECT_IO) === 0) return;
  const info = request.readBigUInt64LE(Field.INFO);
  const bits = koffi.decode(info, Info.BITS, 'uint32_t') as number;
  koffi.encode(info, Info.BITS, 'uint32_t', bits | DIRECT_IO_BIT);
}
