/** Records of files without a name: the last close removes what is left of them at the server, whoever serves it then. */
import type { FileHandle, FileName } from '../../programs/nfs3/index.js';
import type { KeptRecord, RecordRef } from '../../records/index.js';
import type { Inode, SillyName } from '../cache/inode.js';
import type { Credentials, UserCredential } from '../caller/caller.js';
import type { SillyRecords } from '../names/silly-rename.js';
import { KeptRecords, RecordKind, RecordReader } from './record-text.js';

const IS_RENAMED = 0;
/** There is no former name to go back to. Records of older programs do not have this cell: it must not be set in them. */
const IS_SETTLED = 1;

/** A silly name as it was recorded. */
export interface SillyFound {
  readonly ref: RecordRef;
  readonly nodeid: number;
  readonly directory: number;
  /** Of the file and of the directory, which the kernel may have forgotten. */
  readonly handle: FileHandle;
  readonly directoryHandle: FileHandle;
  readonly name: FileName;
  readonly credential: UserCredential;
  /** False: it is not known whether the RENAME was carried out. */
  readonly isRenamed: boolean;
  /** The name that a rename(2) was about to give to another file. Undefined: it has, or that was not the reason. */
  readonly former: FileName | undefined;
}

export class KeptSillyNames extends KeptRecords implements SillyRecords {
  readonly #refs = new Map<Inode, RecordRef>();

  /** An earlier process has recorded it. */
  takeUp(inode: Inode, ref: RecordRef): void {
    this.#refs.set(inode, ref);
  }

  begins(inode: Inode, { directory, name, credential }: SillyName, former: FileName | undefined): void {
    const text = this.text.begin().number(inode.nodeid).number(directory.nodeid);
    text.text(inode.handle).text(directory.handle).text(name).credential(credential);
    text.text(former ?? '');
    this.ends(inode);
    const cells = [0, former === undefined ? 1 : 0];
    this.#refs.set(inode, this.memory.put(RecordKind.SILLY, cells, text.bytes, text.length));
  }

  renamed(inode: Inode): void {
    this.memory.setCell(this.#refs.get(inode) ?? 0, IS_RENAMED, 1);
  }

  settled(inode: Inode): void {
    this.memory.setCell(this.#refs.get(inode) ?? 0, IS_SETTLED, 1);
  }

  ends(inode: Inode): void {
    this.memory.free(this.#refs.get(inode) ?? 0);
    this.#refs.delete(inode);
  }
}

export function readSilly({ ref, cells, content }: KeptRecord, credentials: Credentials): SillyFound {
  const reader = new RecordReader(content);
  return {
    ref,
    nodeid: reader.number(),
    directory: reader.number(),
    handle: reader.text() as FileHandle,
    directoryHandle: reader.text() as FileHandle,
    name: reader.text() as FileName,
    credential: reader.credential(credentials),
    isRenamed: cells[IS_RENAMED] === 1,
    former: cells[IS_SETTLED] === 0 ? (reader.text() as FileName) : undefined,
  };
}
