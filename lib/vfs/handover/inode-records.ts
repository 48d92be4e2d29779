/** Records of the inodes that the kernel holds: node id, handle, where it was last seen, and how it looked when it was recorded. */

import { type Fattr3, type FileHandle, type FileName, FileType } from '../../programs/nfs3/index.js';
import type { KeptRecord, RecordRef } from '../../records/index.js';
import type { Inode } from '../cache/inode.js';
import type { InodeRecords } from '../cache/inode-table.js';
import { KeptRecords } from './kept-records.js';
import { RecordKind, RecordReader } from './record-text.js';

const NLOOKUP = 0;

/** An inode as it was recorded. */
export interface InodeFound {
  readonly ref: RecordRef;
  readonly stamp: number;
  readonly nodeid: number;
  readonly nlookup: number;
  /** 0: it was not known. */
  readonly parent: number;
  readonly handle: FileHandle;
  readonly name: FileName;
  /** Perhaps older than what was known last. */
  readonly attributes: Fattr3 | undefined;
}

export class KeptInodes extends KeptRecords implements InodeRecords {
  held(inode: Inode): void {
    if (inode.record === 0) inode.record = this.#put(inode);
    else this.memory.setCell(inode.record, NLOOKUP, inode.nlookup);
  }

  moved(inode: Inode): void {
    const before = inode.record;
    inode.record = this.#put(inode);
    this.memory.free(before);
  }

  gone(inode: Inode): void {
    this.memory.free(inode.record);
    inode.record = 0;
  }

  #put({ nodeid, nlookup, parent, handle, name, attributes }: Inode): RecordRef {
    const text = this.text
      .begin()
      .number(nodeid)
      .number(parent?.nodeid ?? 0);
    text.text(handle).text(name);
    text.u32(attributes?.type ?? 0);
    if (attributes !== undefined) {
      const { mode, nlink, uid, gid, size, fsid, fileid, mtime, ctime } = attributes;
      text.u32(mode).u32(nlink).u32(uid).u32(gid).u64(size).u64(fsid).u64(fileid);
      text.u32(mtime.seconds).u32(mtime.nanoseconds).u32(ctime.seconds).u32(ctime.nanoseconds);
    }
    return this.memory.put(RecordKind.INODE, [nlookup], text.bytes, text.length);
  }
}

export function readInode({ ref, stamp, cells, content }: KeptRecord): InodeFound {
  const reader = new RecordReader(content);
  const nodeid = reader.number();
  const parent = reader.number();
  const handle = reader.text() as FileHandle;
  const name = reader.text() as FileName;
  const type = reader.u32();
  return {
    ref,
    stamp,
    nodeid,
    nlookup: cells[NLOOKUP] ?? 0,
    parent,
    handle,
    name,
    attributes: isFileType(type) ? readAttributes(reader, type) : undefined,
  };
}

function isFileType(type: number): type is FileType {
  return (Object.values(FileType) as number[]).includes(type);
}

function readAttributes(reader: RecordReader, type: FileType): Fattr3 {
  const [mode, nlink, uid, gid] = [reader.u32(), reader.u32(), reader.u32(), reader.u32()] as const;
  const [size, fsid, fileid] = [reader.u64(), reader.u64(), reader.u64()] as const;
  const mtime = { seconds: reader.u32(), nanoseconds: reader.u32() };
  const ctime = { seconds: reader.u32(), nanoseconds: reader.u32() };
  return {
    type,
    mode,
    nlink,
    uid,
    gid,
    size,
    used: size,
    rdevMajor: 0,
    rdevMinor: 0,
    fsid,
    fileid,
    atime: mtime,
    mtime,
    ctime,
  };
}
