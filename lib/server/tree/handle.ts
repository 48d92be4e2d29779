/**
 * The server's file handles: 44 bytes that name an object by properties that stay the same when it is renamed, and that
 * differ when its inode number is given to another object. They hold no path, and outlive the server's memory: an
 * object that is not in the table is found again by its inode number. A key seals them, since a handle opens its object
 * without a check of the directories above: nobody may use a handle that the server has not handed out.
 */
import type { FileHandle } from '../../programs/nfs3/index.js';
import { SipHash } from './siphash.js';

/** The properties that identify an object. `birth` and `generation` are 0 where the file system has none. */
export interface ObjectIdentity {
  readonly fsid: bigint;
  readonly fileid: bigint;
  readonly birthSeconds: number;
  readonly birthNanoseconds: number;
  readonly generation: number;
}

export const HANDLE_SIZE = 44;
/** Offset of the seal, which follows the sealed bytes. */
const SEALED = HANDLE_SIZE - 8;
/** "nfsF", and the version of this layout. */
const MAGIC = 0x6e667302;

const scratch = Buffer.alloc(HANDLE_SIZE);
const view = new DataView(scratch.buffer, scratch.byteOffset, scratch.length);

export class HandleCodec {
  readonly #hash: SipHash;

  /** `key`: see siphash.ts. Another key makes other handles, and knows none of these. */
  constructor(key: Uint8Array) {
    this.#hash = new SipHash(key);
  }

  /** `salt`: of the export, and of its generation of handles. */
  encode(identity: ObjectIdentity, salt: number): FileHandle {
    view.setUint32(0, MAGIC);
    view.setUint32(4, salt);
    view.setBigUint64(8, identity.fsid);
    view.setBigUint64(16, identity.fileid);
    view.setUint32(24, identity.birthSeconds);
    view.setUint32(28, identity.birthNanoseconds);
    view.setUint32(32, identity.generation);
    this.#hash.update(view, SEALED);
    view.setUint32(SEALED, this.#hash.high);
    view.setUint32(SEALED + 4, this.#hash.low);
    return scratch.toString('latin1') as FileHandle;
  }

  /**
   * Undefined for bytes that are not a handle of this kind of server; 'foreign' for a handle that was sealed with
   * another key, or that is forged.
   */
  decode(handle: FileHandle): (ObjectIdentity & { readonly salt: number }) | 'foreign' | undefined {
    if (handle.length !== HANDLE_SIZE) return undefined;
    scratch.write(handle, 'latin1');
    if (view.getUint32(0) !== MAGIC) return undefined;
    this.#hash.update(view, SEALED);
    const { high, low } = this.#hash;
    // Compare both halves in any case: the time that this takes must not show how much of a forged seal is right.
    if (((view.getUint32(SEALED) ^ high) | (view.getUint32(SEALED + 4) ^ low)) !== 0) return 'foreign';
    return {
      salt: view.getUint32(4),
      fsid: view.getBigUint64(8),
      fileid: view.getBigUint64(16),
      birthSeconds: view.getUint32(24),
      birthNanoseconds: view.getUint32(28),
      generation: view.getUint32(32),
    };
  }
}
