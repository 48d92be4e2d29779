/** Reads whole directories with getdents64(2): names as bytes, and with them the inode numbers and types. */
import { constants } from 'node:os';
import { type FileName, FileType, fileNameFromBytes } from '../../programs/nfs3/index.js';
import { NfsError, statusOfErrno } from '../status-error.js';
import { getDents, nativeLittleEndian as LE } from '../system-calls-at.js';

export interface RawEntry {
  readonly name: FileName;
  /** For a mount point, this is the inode number of the directory below the mount. */
  readonly fileid: bigint;
  /** Undefined if the file system does not say. */
  readonly type: FileType | undefined;
}

const DT_TYPES: readonly (FileType | undefined)[] = [
  undefined,
  FileType.FIFO,
  FileType.CHR,
  undefined,
  FileType.DIR,
  undefined,
  FileType.BLK,
  undefined,
  FileType.REG,
  undefined,
  FileType.LNK,
  undefined,
  FileType.SOCK,
];
const NAME_AT = 19;
const chunk = Buffer.alloc(256 * 1024);
const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);

/** Calls `visit` for every entry except "." and "..", from the position of the descriptor on. Throws NfsError. */
export function eachEntry(descriptor: number, visit: (entry: RawEntry) => void): void {
  for (;;) {
    const length = getDents(descriptor, chunk);
    // A directory that is removed during the reading ends here.
    if (length === 0 || length === -constants.errno.ENOENT) return;
    if (length < 0) throw new NfsError(statusOfErrno(-length));
    for (let at = 0; at < length; ) {
      const end = chunk.indexOf(0, at + NAME_AT);
      const name = fileNameFromBytes(chunk.subarray(at + NAME_AT, end));
      if (name !== '.' && name !== '..') {
        visit({
          name,
          fileid: view.getBigUint64(at, LE),
          type: DT_TYPES[chunk[at + 18] ?? 0],
        });
      }
      at += view.getUint16(at + 16, LE);
    }
  }
}
