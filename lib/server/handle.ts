/**
 * The server's file handles: 40 bytes that name an object by what stays the same while it is renamed, and differs
 * when its inode number is given to another object. They hold no path, so they outlive the server's memory: an
 * object that is not in the table is found again by its inode number.
 */
import type { FileHandle } from '../nfs3/index.js';
import { hash32 } from './libc.js';

/** What an object is known by. `birth` and `generation` are 0 where the file system has none. */
export interface Identity {
  readonly fsid: bigint;
  readonly fileid: bigint;
  readonly birthSeconds: number;
  readonly birthNanoseconds: number;
  readonly generation: number;
}

export const HANDLE_SIZE = 40;
/** "nfsF", and the version of this layout. */
const MAGIC = 0x6e667301;
const scratch = Buffer.alloc(HANDLE_SIZE);

/** `salt`: of the export, and of its generation of handles. */
export function encodeHandle(identity: Identity, salt: number): FileHandle {
  scratch.writeUInt32BE(MAGIC, 0);
  scratch.writeUInt32BE(salt, 4);
  scratch.writeBigUInt64BE(identity.fsid, 8);
  scratch.writeBigUInt64BE(identity.fileid, 16);
  scratch.writeUInt32BE(identity.birthSeconds, 24);
  scratch.writeUInt32BE(identity.birthNanoseconds, 28);
  scratch.writeUInt32BE(identity.generation, 32);
  scratch.writeUInt32BE(hash32(scratch, 0, HANDLE_SIZE - 4), HANDLE_SIZE - 4);
  return scratch.toString('latin1') as FileHandle;
}

/** undefined for bytes that this server never handed out. */
export function decodeHandle(handle: FileHandle): (Identity & { readonly salt: number }) | undefined {
  if (handle.length !== HANDLE_SIZE) return undefined;
  scratch.write(handle, 'latin1');
  if (scratch.readUInt32BE(0) !== MAGIC) return undefined;
  if (scratch.readUInt32BE(HANDLE_SIZE - 4) !== hash32(scratch, 0, HANDLE_SIZE - 4)) return undefined;
  return {
    salt: scratch.readUInt32BE(4),
    fsid: scratch.readBigUInt64BE(8),
    fileid: scratch.readBigUInt64BE(16),
    birthSeconds: scratch.readUInt32BE(24),
    birthNanoseconds: scratch.readUInt32BE(28),
    generation: scratch.readUInt32BE(32),
  };
}
