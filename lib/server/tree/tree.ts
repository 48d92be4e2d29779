/** One exported directory in service, with everything the server remembers of it until it is restarted. */
import { LRUCache } from 'lru-cache';
import type { FileHandle, Fsinfo, WccData } from '../../programs/nfs3/index.js';
import { Status } from '../../programs/nfs3/index.js';
import type { ServedUsers } from '../served-users.js';
import { NfsError, undefinedIfGone } from '../status-error.js';
import type { FileStat } from './file-stat.js';
import { ObjectTable, type ObjectTableOptions } from './object-table.js';
import { ServedFiles } from './served-files.js';
import { Listings } from './served-listing.js';
import type { ServedObject } from './served-object.js';
import { TreeWalk } from './tree-walk.js';
import { UncommittedWrites } from './uncommitted-writes.js';

export interface TreeOptions extends ObjectTableOptions {
  readonly callers: ServedUsers;
  readonly readOnly: boolean;
  readonly limits: Pick<Fsinfo, 'rtmax' | 'rtpref' | 'wtmax' | 'wtpref' | 'dtpref'>;
  readonly maxOpenFiles: number;
  readonly closeIdleAfter: number;
  readonly maxListedEntries: number;
  readonly maxWalkedEntries: number;
  /** fsync directories after every change, so that it outlives a crash of the machine. */
  readonly syncDirectories: boolean;
  /** Keep what UNSTABLE writes overwrite, so that a simulated crash can lose them. */
  readonly undoUnstable: boolean;
  readonly log: (line: string) => void;
}

/** Settings that tests change while the server runs. */
export interface DataFaults {
  /** The most bytes that one WRITE or READ moves. */
  maxWrite: number | undefined;
  maxRead: number | undefined;
}

const EXCLUSIVE_CREATIONS = 4096;

export class ExportedTree {
  readonly options: TreeOptions;
  readonly callers: ServedUsers;
  readonly table: ObjectTable;
  readonly walk: TreeWalk;
  readonly files: ServedFiles;
  readonly listings: Listings;
  readonly uncommitted: UncommittedWrites;
  readonly faults: DataFaults;
  /** Verifiers of EXCLUSIVE creates, by the handle of what they created. */
  readonly creations = new LRUCache<FileHandle, string>({ max: EXCLUSIVE_CREATIONS });
  /** Eight bytes, one character each. */
  writeVerifier: string;

  /** Throws a system error or NfsError when the directory cannot be exported. */
  constructor(options: TreeOptions, writeVerifier: string, faults: DataFaults) {
    this.options = options;
    this.callers = options.callers;
    this.writeVerifier = writeVerifier;
    this.faults = faults;
    this.table = new ObjectTable(options);
    this.walk = new TreeWalk(this.table, { ...options, maxEntries: options.maxWalkedEntries });
    this.files = new ServedFiles(this.table, {
      ...options,
      max: options.maxOpenFiles,
      idleAfter: options.closeIdleAfter,
    });
    this.listings = new Listings(options.maxListedEntries, options.now);
    this.uncommitted = new UncommittedWrites(options.undoUnstable);
  }

  close(): void {
    this.walk.close();
    this.files.close();
    this.table.close();
  }

  /** Throws NFS3ERR_ROFS where nothing may be changed. */
  requireWritable(): void {
    if (this.options.readOnly) throw new NfsError(Status.ROFS);
  }

  /** Attributes of an object, by its open descriptor if there is one. Throws as ObjectTable.stat does. */
  stat(inode: ServedObject): FileStat {
    return this.files.stat(inode) ?? this.table.stat(inode);
  }

  /** Like {@link stat}, for replies that need no attributes: returns undefined instead of an error. */
  tryStat(inode: ServedObject | undefined): FileStat | undefined {
    if (inode === undefined) return undefined;
    try {
      return this.stat(inode);
    } catch (error) {
      return undefinedIfGone(error);
    }
  }

  /** The attributes before and after in the reply to a change, also to one that failed. */
  wcc(inode: ServedObject | undefined, before: FileStat | undefined): WccData {
    return { before, after: this.tryStat(inode) };
  }
}
