/** The attributes of an object at one moment: NFS attributes straight from statx(2). */
import { type Fattr3, FileType } from '../../programs/nfs3/index.js';
import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  EMPTY_PATH,
  nativeLittleEndian as LE,
  statx,
} from '../system-calls-at.js';

/** The attributes as they go to the wire, and the time of birth, which is part of an object's identity. */
export interface FileStat extends Fattr3 {
  readonly birthSeconds: number;
  readonly birthNanoseconds: number;
}

const S_IFMT = 0o170000;
const typeOfMode = new Map<number, FileType>([
  [0o100000, FileType.REG],
  [0o040000, FileType.DIR],
  [0o060000, FileType.BLK],
  [0o020000, FileType.CHR],
  [0o120000, FileType.LNK],
  [0o140000, FileType.SOCK],
  [0o010000, FileType.FIFO],
]);

let lastMajor = -1;
let lastMinor = -1;
let lastFsid = 0n;

/** The last device number and its fsid: the device is nearly always the same, and no BigInt has to be computed. */
function fsidOf(major: number, minor: number): bigint {
  if (major !== lastMajor || minor !== lastMinor) {
    lastMajor = major;
    lastMinor = minor;
    lastFsid = (BigInt(major) << 32n) | BigInt(minor);
  }
  return lastFsid;
}

/** Seconds are unsigned 32-bit on the wire: times before 1970 wrap around, as with other servers. */
function time(view: DataView, at: number) {
  return { seconds: view.getUint32(at + (LE ? 0 : 4), LE), nanoseconds: view.getUint32(at + 8, LE) };
}

function parse(view: DataView): FileStat {
  const mode = view.getUint16(28, LE);
  return {
    type: typeOfMode.get(mode & S_IFMT) ?? FileType.REG,
    mode: mode & 0o7777,
    nlink: view.getUint32(16, LE),
    uid: view.getUint32(20, LE),
    gid: view.getUint32(24, LE),
    size: view.getBigUint64(40, LE),
    used: view.getBigUint64(48, LE) << 9n,
    rdevMajor: view.getUint32(128, LE),
    rdevMinor: view.getUint32(132, LE),
    fsid: fsidOf(view.getUint32(136, LE), view.getUint32(140, LE)),
    fileid: view.getBigUint64(32, LE),
    atime: time(view, 64),
    mtime: time(view, 112),
    ctime: time(view, 96),
    birthSeconds: view.getUint32(80 + (LE ? 0 : 4), LE),
    birthNanoseconds: view.getUint32(88, LE),
  };
}

/** Of the name in the directory, a symbolic link itself rather than what it points to; or -errno. */
export function statAt(directory: number, name: Uint8Array): FileStat | number {
  const view = statx(directory, name, AT_SYMLINK_NOFOLLOW);
  return typeof view === 'number' ? view : parse(view);
}

/** Of an open descriptor, O_PATH ones included; or -errno. */
export function statDescriptor(descriptor: number): FileStat | number {
  const view = statx(descriptor, EMPTY_PATH, AT_EMPTY_PATH);
  return typeof view === 'number' ? view : parse(view);
}
