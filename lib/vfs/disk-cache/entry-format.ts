/**
 * The file of one version of one object in the cache on the local disk: where things are in it, and how damage shows. Owns the
 * format: a header that says in full what the file is of, and groups of an index page and the data of 64 blocks. A block
 * counts only while its checksum in the index is that of its data, so files that were cut off, half written, overwritten or
 * mixed up hold less than they did, and never something else.
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Fattr3, FileHandle } from '../../programs/nfs3/index.js';

/** The unit that is stored, checked and found. The last one of a file is shorter. */
export const BLOCK = 16 * 1024;
const GROUP_BLOCKS = 64;
/** The data of one group: a read of one group is one read of the disk. */
export const GROUP = BLOCK * GROUP_BLOCKS;
export const HEADER = 4096;
/** In front of each group, so that data lies on whole pages. */
export const INDEX = 4096;
/** A checksum, and a word by which it is known that there is one. */
export const SUM = 8;
const MAGIC = 'nfs-fuse disk cache, format 1\n';

/** The server and the export, as far as they tell objects apart. */
export interface CachedExport {
  readonly host: string;
  /** Of NFS. */
  readonly port: number;
  readonly exportPath: Uint8Array;
}

/** One version of one object. */
export interface EntryKey {
  /** The same for all versions of the object: what the names of their files begin with. */
  readonly object: string;
  /** Of the file: the object and its version. */
  readonly name: string;
  readonly header: Buffer;
  readonly size: number;
  /** Goes into all checksums: blocks of another file or version are damage. */
  readonly seed: number;
}

/** Undefined: the object's size is beyond what JavaScript counts exactly, or the export's path is too long. */
export function entryKey(of: CachedExport, handle: FileHandle, version: Fattr3): EntryKey | undefined {
  const size = Number(version.size);
  if (!Number.isSafeInteger(size)) return undefined;
  const { host, port, exportPath } = of;
  const object = [host, port, hex(exportPath), hex(Buffer.from(handle, 'latin1'))];
  const { fsid, fileid, mtime, ctime } = version;
  const times = [mtime.seconds, mtime.nanoseconds, ctime.seconds, ctime.nanoseconds];
  const text = MAGIC + JSON.stringify([...object, String(fsid), String(fileid), size, ...times]);
  const header = Buffer.alloc(HEADER);
  if (Buffer.byteLength(text) > HEADER) return undefined;
  header.write(text);
  const hash = sha256(header);
  const objectName = sha256(JSON.stringify(object)).toString('hex').slice(0, 40);
  return {
    object: objectName,
    name: `${objectName}-${hash.toString('hex', 0, 12)}`,
    header,
    size,
    seed: hash.readUInt32LE(12),
  };
}

/** The names of entries look like this. Nothing else is ever removed. */
export const ENTRY_NAME = /^[0-9a-f]{40}-[0-9a-f]{24}$/;

/** The place of a group's index page. Its data follows. */
export function groupStart(group: number): number {
  return HEADER + group * (INDEX + GROUP);
}

/** The bytes of block `block` in a file of `size` bytes. */
export function blockLength(block: number, size: number): number {
  return Math.max(0, Math.min(BLOCK, size - block * BLOCK));
}

/** Writes what the index says of a block with this data. */
export function writeSum(index: Buffer, at: number, data: Uint8Array, block: number, seed: number): void {
  const sum = crc32(data, (seed ^ block) >>> 0);
  index.writeUInt32LE(sum, at);
  index.writeUInt32LE(markOf(sum, block, seed), at + 4);
}

/** Whether the index holds a checksum of this block. */
export function isMarked(index: Buffer, at: number, block: number, seed: number): boolean {
  return (
    at + SUM <= index.length && index.readUInt32LE(at + 4) === markOf(index.readUInt32LE(at), block, seed)
  );
}

/** Whether the data is what the index says; ask only of a block that is marked. */
export function isIntact(index: Buffer, at: number, data: Uint8Array, block: number, seed: number): boolean {
  return crc32(data, (seed ^ block) >>> 0) === index.readUInt32LE(at);
}

/** Never 0: an index that nobody has written has no marks. */
function markOf(sum: number, block: number, seed: number): number {
  return (Math.imul(sum ^ seed, 0x9e37_79b1) ^ Math.imul(block + 1, 0x85eb_ca6b)) >>> 0 || 1;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function sha256(data: string | Uint8Array): Buffer {
  return createHash('sha256').update(data).digest();
}
