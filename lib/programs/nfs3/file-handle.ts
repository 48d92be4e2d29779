/**
 * nfs_fh3: opaque, 0 to 64 bytes (RFC 1813 2.4). Held as a string of one character per byte (latin1), so that
 * handles compare with === and serve as keys; nothing but the codecs looks inside.
 */
import type { XdrReader } from '../../xdr/xdr-reader.js';
import type { XdrWriter } from '../../xdr/xdr-writer.js';
import { MAX_FILE_HANDLE } from './constants.js';
import { oddValues } from './odd-values.js';

declare const brand: unique symbol;
export type FileHandle = string & { readonly [brand]: 'FileHandle' };

export function fileHandleFromBytes(bytes: Uint8Array): FileHandle {
  if (bytes.length > MAX_FILE_HANDLE) throw new RangeError(`file handle is ${bytes.length} bytes long`);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1') as FileHandle;
}

export function fileHandleToBytes(handle: FileHandle): Buffer {
  return Buffer.from(handle, 'latin1');
}

/** For messages: hexadecimal. */
export function formatFileHandle(handle: FileHandle): string {
  return handle.length === 0 ? '(empty)' : fileHandleToBytes(handle).toString('hex');
}

export function encodeFileHandle(writer: XdrWriter, handle: FileHandle): void {
  writer.opaqueFromLatin1(handle);
}

export function decodeFileHandle(reader: XdrReader): FileHandle {
  return reader.opaqueAsLatin1(MAX_FILE_HANDLE, 'file handle') as FileHandle;
}

/** post_op_fh3. */
export function encodePostOpHandle(writer: XdrWriter, handle: FileHandle | undefined): void {
  writer.bool(handle !== undefined);
  if (handle !== undefined) encodeFileHandle(writer, handle);
}

export function decodePostOpHandle(reader: XdrReader): FileHandle | undefined {
  return reader.bool() ? decodeFileHandle(reader) : undefined;
}

/** A wrong handle of up to this many bytes is skipped. A longer one means that the message is broken. */
const MAX_WRONG_HANDLE = 1024;

/** post_op_fh3 of a directory entry. One that is too long for a handle counts as not sent. */
export function decodeEntryHandle(reader: XdrReader): FileHandle | undefined {
  if (!reader.bool()) return undefined;
  const handle = reader.opaqueAsLatin1(MAX_WRONG_HANDLE, 'file handle');
  if (handle.length <= MAX_FILE_HANDLE) return handle as FileHandle;
  oddValues.handles++;
  return undefined;
}
