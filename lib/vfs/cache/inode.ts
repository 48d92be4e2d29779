/**
 * The knowledge that this mount has of one object on the server. A tree of a million files is normal, so an inode holds
 * little; what only open files or recovery need hangs off it, undefined until it is.
 */

import { shownName } from '../../base/shown-name.js';
import type { NodeId } from '../../fuse/contract/operations.js';
import { ROOT_NODEID } from '../../fuse/contract/operations.js';
import {
  type Fattr3,
  type FileHandle,
  type FileName,
  FileType,
  fileNameToText,
  NO_NAME,
} from '../../programs/nfs3/index.js';
import type { UserCredential } from '../caller/caller.js';
import type { OwnChanges } from './own-changes.js';

/** The rights that the server granted to one credential (access/access-cache.ts). */
export interface Granted {
  readonly credential: number;
  readonly asked: number;
  readonly granted: number;
  readonly accessGeneration: number;
}

/** Where a nameless open file is, and who took its name away: the same credential removes it (names/silly-rename.ts). */
export interface SillyName {
  readonly directory: Inode;
  readonly name: FileName;
  readonly credential: UserCredential;
}

/** Data and attributes of a file that the server may not have yet (write-behind/write-behind.ts), as other parts see it. */
export interface PendingWrites {
  /** Some of it has not been sent, or not been answered. */
  readonly dirty: boolean;
  /** All of it is on the server's stable storage, or lost. */
  readonly clean: boolean;
  /** The file's size, where the server has `size`. */
  sizeWith(size: bigint): bigint;
  /** Attributes have been set here that the server has not answered for yet. */
  readonly setsLater: boolean;
  /** The thread whose open(2) is making the file. Before that returns, the kernel asks for the file's mode and owner. */
  opening: number | undefined;
  /** The attributes as they will be then, where the server has these. */
  attributesWith(attributes: Fattr3): Fattr3;
  /** Resolves once the server has it. `atRest`: no more is expected soon. */
  drain(atRest?: boolean): Promise<void>;
}

export class Inode {
  readonly nodeid: NodeId;
  /** Changes only when a redrive finds the same object under another handle. */
  handle: FileHandle;
  /** FUSE's count of references that the kernel holds. */
  nlookup = 0;
  /** Open files and directories, those being opened included. */
  opens = 0;
  /** Where it is recorded for the next process (InodeRecords). 0: nowhere. */
  record = 0;
  /** Of these, files whose open(2) has not been answered. */
  opening = 0;

  attributes: Fattr3 | undefined = undefined;
  /** Until when the attributes are trusted, and the present width of the adaptive window (nfs(5)). */
  attributesExpire = 0;
  attributesTimeout = 0;
  /** When that window began. */
  windowStart = 0;
  /** The newest call that had been started when the attributes last came: replies to calls before it may be older. */
  attributesCall = 0;
  /** The newest call that had been started when the attributes were last doubted: only later ones settle it. */
  doubtedCall = 0;
  /** Changes of this object by this mount that are under way. */
  own: OwnChanges | undefined = undefined;
  /** One of its names is being changed by this mount, or was, and the new ctime has not been seen yet. */
  ctimeMoving = false;
  /**
   * Counts changes that were not ours. Dentries and listings (of a directory), pages and read-ahead (of a file)
   * are good for one value of it.
   */
  #generation = 0;
  /** Counts what may change permissions: others' changes, and our own of mode and owner. */
  #accessGeneration = 0;
  /** The rights that the server granted, by credential. */
  access: Granted[] | undefined = undefined;
  /** Counts changes of the content through this mount: what was read ahead before one is void. */
  #contentChanges = 0;
  /** The attributes that the kernel was told last, and may still go by (kernel-view.ts). */
  told: Fattr3 | undefined = undefined;
  /** Until when the kernel has no reason of its own to ask for them again. */
  kernelTrustsUntil = 0;
  /** Counts what may have changed its names elsewhere: a dentry of it is good for one value of it. */
  namesGeneration = 0;
  /** The generation whose pages the kernel may hold. */
  pagesGeneration = -1;
  /** The kernel has filled pages of it since they were last dropped. */
  pagesFilled = false;
  /** Some of those pages may be older than their ctime says: a second change within one tick of the server's clock. */
  pagesRacy = false;

  /** Where it was last seen: the way that a redrive goes. The root has none. */
  parent: Inode | undefined = undefined;
  /** One character per byte. */
  name: FileName = NO_NAME;

  /** Counts the handles that a redrive gave this inode; of the parent's, the count when this handle was learnt. */
  epoch = 0;
  parentEpoch = 0;

  /** The server no longer knows the handle, and no redrive found the object again. */
  #stale = false;
  /** Dropped from the inode table: dentries that still point here are void. */
  evicted = false;
  /**
   * Threads that were answered ESTALE for it, so that the kernel's VFS looks the path up again. It does so once: the
   * next failure ends it, and so do a new handle and a look that found another object under the name.
   */
  staleReported: Set<number> | undefined = undefined;
  redriving: Promise<boolean> | undefined = undefined;
  /** Redrives that have ended: an operation that was sent before one ended need not begin another. */
  redrives = 0;
  /** With `stale`: not only is the handle void, its name is known to be gone or to stand for another object. */
  #gone = false;
  /** REMOVE of its last name is on its way: an open waits for the outcome. */
  removing: Promise<void> | undefined = undefined;
  silly: SillyName | undefined = undefined;
  writer: PendingWrites | undefined = undefined;
  /** The append under way, for the next to wait for. */
  appending: Promise<void> | undefined = undefined;

  constructor(nodeid: NodeId, handle: FileHandle) {
    this.nodeid = nodeid;
    this.handle = handle;
  }

  get generation(): number {
    return this.#generation;
  }

  get accessGeneration(): number {
    return this.#accessGeneration;
  }

  get contentChanges(): number {
    return this.#contentChanges;
  }

  get stale(): boolean {
    return this.#stale;
  }

  get gone(): boolean {
    return this.#gone;
  }

  /** Another client has changed it, or may have: what was learnt of its content and of rights is void. */
  advanceGeneration(): void {
    this.#generation++;
    this.#accessGeneration++;
  }

  /** Somebody may have got other rights. */
  advanceAccessGeneration(): void {
    this.#accessGeneration++;
  }

  /** This mount changes the content. */
  countContentChange(): void {
    this.#contentChanges++;
  }

  /** The server does not know the handle any more. `gone`: nor does the path lead to the object. */
  markStale(gone = this.#gone): void {
    this.#stale = true;
    this.#gone = gone;
  }

  /** The server answers for the handle, after all or again. */
  revive(): void {
    this.#stale = false;
    this.#gone = false;
  }

  get isRoot(): boolean {
    return this.nodeid === ROOT_NODEID;
  }

  get isDirectory(): boolean {
    return this.attributes?.type === FileType.DIR;
  }

  get isRegular(): boolean {
    return this.attributes?.type === FileType.REG;
  }
}

/** The path from the mount's root as last seen, for messages: on one line, whatever the names hold. */
export function describePath(inode: Inode): string {
  const names: string[] = [];
  let at: Inode | undefined = inode;
  for (let depth = 0; at !== undefined && !at.isRoot && depth < 4096; depth++) {
    names.unshift(fileNameToText(at.name));
    at = at.parent;
  }
  return shownName(`/${names.join('/')}`);
}
