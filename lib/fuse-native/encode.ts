/** struct stat and struct statvfs as the arrays of 32-bit words that the addon copies from. Owns no state. */

import { encodeDevice } from '../fuse/contract/device-number.js';
import type { FuseAttributes, FuseStatfs, FuseTime } from '../fuse/contract/operations.js';

/** The addon always reads exactly this many words. */
export const STAT_WORDS = 18;
export const STATFS_WORDS = 11;

const WORD = 2 ** 32;
const S_IFMT_SHIFT = 12;

/** Whole milliseconds, rounded down. A time before 1970 becomes 1970: the addon uses unsigned numbers. */
export function milliseconds(time: FuseTime): number {
  return Math.max(0, time.seconds * 1000 + Math.floor(time.nanoseconds / 1e6));
}

function putWide(words: Uint32Array, at: number, value: number): void {
  words[at] = value % WORD;
  words[at + 1] = Math.floor(value / WORD);
}

function putBig(words: Uint32Array, at: number, value: bigint): void {
  words[at] = Number(value & 0xffff_ffffn);
  words[at + 1] = Number(value >> 32n);
}

export function encodeStat(attributes: FuseAttributes, ino: number): Uint32Array {
  const words = new Uint32Array(STAT_WORDS);
  words[0] = attributes.mode;
  words[1] = attributes.uid;
  words[2] = attributes.gid;
  putBig(words, 3, attributes.size);
  words[6] = attributes.nlink;
  words[7] = ino;
  words[8] = encodeDevice(attributes.rdevMajor, attributes.rdevMinor);
  words[9] = attributes.blksize;
  putBig(words, 10, attributes.blocks);
  putWide(words, 12, milliseconds(attributes.atime));
  putWide(words, 14, milliseconds(attributes.mtime));
  putWide(words, 16, milliseconds(attributes.ctime));
  return words;
}

/** All that readdir(3) shows of an entry: its number, and its DT_* type. */
export function encodeEntry(ino: number, type: number): Uint32Array {
  const words = new Uint32Array(STAT_WORDS);
  words[0] = type << S_IFMT_SHIFT;
  words[7] = ino;
  return words;
}

/** Block counts have 32 bits here: larger file systems are counted in larger blocks. */
export function encodeStatfs(statfs: FuseStatfs): Uint32Array {
  let { frsize } = statfs;
  let shift = 0n;
  while (statfs.blocks >> shift >= BigInt(WORD) && frsize < 2 ** 30) {
    shift += 1n;
    frsize *= 2;
  }
  const clamp = (value: bigint): number => (value < BigInt(WORD) ? Number(value) : WORD - 1);
  const words = new Uint32Array(STATFS_WORDS);
  words[0] = Math.max(statfs.bsize, frsize);
  words[1] = frsize;
  words[2] = clamp(statfs.blocks >> shift);
  words[3] = clamp(statfs.bfree >> shift);
  words[4] = clamp(statfs.bavail >> shift);
  words[5] = clamp(statfs.files);
  words[6] = clamp(statfs.ffree);
  words[7] = words[6];
  words[10] = statfs.namelen;
  return words;
}
