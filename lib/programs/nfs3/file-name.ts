/**
 * filename3 (RFC 1813 2.5): a name in a directory, bytes of no known encoding. Held as a string of one character per byte
 * (latin1), so that names compare with === and serve as keys. A string of another kind is no name: the type keeps the
 * two apart.
 */
import type { XdrReader } from '../../xdr/xdr-reader.js';
import type { XdrWriter } from '../../xdr/xdr-writer.js';
import { MAX_NAME } from './constants.js';

declare const brand: unique symbol;
export type FileName = string & { readonly [brand]: 'FileName' };

export function fileNameFromBytes(bytes: Uint8Array): FileName {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1') as FileName;
}

export function fileNameToBytes(name: FileName): Buffer {
  return Buffer.from(name, 'latin1');
}

/** The name that `text` is in UTF-8, as programs on Linux write names. */
export function fileNameFromText(text: string): FileName {
  return fileNameFromBytes(Buffer.from(text, 'utf8'));
}

/** For people: bytes that are no UTF-8 are lost. Such text is no name any more. */
export function fileNameToText(name: FileName): string {
  return fileNameToBytes(name).toString('utf8');
}

export const DOT = '.' as FileName;
export const DOT_DOT = '..' as FileName;
/** The name of an object that was not found by one. */
export const NO_NAME = '' as FileName;

/** "." or "..": every directory has both, and neither is ever looked up on the server. */
export function isDots(name: FileName): boolean {
  return name === DOT || name === DOT_DOT;
}

export function encodeFileName(writer: XdrWriter, name: FileName): void {
  writer.opaqueFromLatin1(name);
}

/** A name of at most `max` bytes. @throws XdrError for a longer one. */
export function decodeFileName(reader: XdrReader, max = MAX_NAME): FileName {
  return reader.opaqueAsLatin1(max, 'name') as FileName;
}
