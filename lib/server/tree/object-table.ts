/**
 * From file handles to objects. Owns the table of known inodes and the O_PATH descriptors of directories, and the
 * rule that everything is reached from a directory's descriptor by one name, without following links, and checked
 * to be the object that the handle means before it is used.
 */
import { closeSync, constants as fsConstants, readlinkSync, statfsSync } from 'node:fs';
import { constants } from 'node:os';
import { LRUCache } from 'lru-cache';
import { type FileHandle, type FileName, FileType, Status } from '../../programs/nfs3/index.js';
import { check, NfsError, ObjectMovedError } from '../status-error.js';
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  cString,
  EMPTY_PATH,
  generationAt,
  hash32,
  O_PATH,
  openAt,
} from '../system-calls-at.js';
import { type FileStat, statAt, statDescriptor } from './file-stat.js';
import { type FileSystemKind, fileSystemKind } from './file-system-kind.js';
import { HandleCodec, type ObjectIdentity } from './handle.js';
import { ServedObject } from './served-object.js';

const { ENAMETOOLONG, ENOENT, ENOTDIR, ELOOP } = constants.errno;
const { O_DIRECTORY, O_NOFOLLOW } = fsConstants;
/** No path can be deeper than this. */
const MAX_DEPTH = 4096;

export interface ObjectTableOptions {
  /** The exported directory. */
  readonly path: string;
  /** Seals the handles: 16 bytes that nobody else knows. */
  readonly handleKey: Uint8Array;
  /** With another number, the same objects have other handles. */
  readonly handleGeneration: number;
  /** Inodes kept in memory; the others are found again by walking the export. */
  readonly maxInodes: number;
  /** Directory descriptors kept open. */
  readonly maxDirectories: number;
  /** Milliseconds for which a directory seen inside the export is trusted to be there. */
  readonly insideFor: number;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

interface OpenDirectory {
  /** O_PATH: it stays valid when the directory is renamed. */
  readonly descriptor: number;
  /** When it was last seen to be inside the export: milliseconds, monotonic. */
  insideAt: number;
}

export class ObjectTable {
  readonly root: ServedObject;
  /** O_PATH, as all of them. */
  readonly rootDescriptor: number;
  readonly salt: number;
  /** Inodes forgotten for want of room. */
  evictions = 0;
  readonly #options: ObjectTableOptions;
  readonly #codec: HandleCodec;
  readonly #inodes: LRUCache<FileHandle, ServedObject>;
  readonly #open: LRUCache<FileHandle, OpenDirectory>;
  #evicted: number[] = [];
  /** Of each file system met. */
  readonly #kinds = new Map<bigint, FileSystemKind>();
  #closed = false;

  /** Throws a system error when the directory cannot be opened, or is none. */
  constructor(options: ObjectTableOptions) {
    this.#options = options;
    this.#codec = new HandleCodec(options.handleKey);
    this.#inodes = new LRUCache({
      max: options.maxInodes,
      dispose: (_, __, reason) => {
        if (reason === 'evict') this.evictions += 1;
      },
    });
    this.#open = new LRUCache({
      max: options.maxDirectories,
      dispose: ({ descriptor }) => this.#retire(descriptor),
    });
    const descriptor = check(openAt(AT_FDCWD, Buffer.from(`${options.path}\0`), O_PATH | O_DIRECTORY));
    const stat = statDescriptor(descriptor);
    if (typeof stat === 'number') throw new NfsError(Status.IO, `cannot stat ${options.path}`);
    const identity = this.#identify(stat, descriptor, EMPTY_PATH, AT_EMPTY_PATH);
    const unsalted = Buffer.from(this.#codec.encode(identity, options.handleGeneration), 'latin1');
    this.salt = hash32(unsalted, 0, unsalted.length);
    this.root = new ServedObject(this.#codec.encode(identity, this.salt), identity, true);
    this.rootDescriptor = descriptor;
  }

  /** Closes all descriptors. Handles of this table must not be used afterwards. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#open.clear();
    this.#closeEvicted();
    closeSync(this.rootDescriptor);
    this.#inodes.clear();
  }

  /** Whether the path still leads to the directory that was exported, or was replaced by another one. */
  isCurrent(): boolean {
    const descriptor = openAt(AT_FDCWD, Buffer.from(`${this.#options.path}\0`), O_PATH | O_DIRECTORY);
    if (descriptor < 0) return false;
    const stat = statDescriptor(descriptor);
    closeSync(descriptor);
    return typeof stat !== 'number' && stat.fileid === this.root.fileid && stat.fsid === this.root.fsid;
  }

  /**
   * The inode of a handle. Throws NFS3ERR_BADHANDLE for bytes that were never a handle, NFS3ERR_STALE for a
   * handle of another export or generation, or with a seal that is not ours, and ObjectMovedError where the object
   * has to be looked for.
   */
  get(handle: FileHandle): ServedObject {
    const known = this.#inodes.get(handle);
    if (known !== undefined) return known;
    if (handle === this.root.handle) return this.root;
    if (this.#codec.decode(handle) === undefined) throw new NfsError(Status.BADHANDLE);
    if (this.identityOf(handle) === undefined) throw new NfsError(Status.STALE);
    throw new ObjectMovedError(handle);
  }

  /** The identity that a handle of this table carries; undefined for any other handle. */
  identityOf(handle: FileHandle): ObjectIdentity | undefined {
    const identity = this.#codec.decode(handle);
    return typeof identity === 'object' && identity.salt === this.salt ? identity : undefined;
  }

  /** Like {@link get}, but returns undefined instead of an error, and does not count as a use. */
  peek(handle: FileHandle): ServedObject | undefined {
    return handle === this.root.handle ? this.root : this.#inodes.peek(handle);
  }

  /**
   * Remembers that the object with these attributes was seen under this name, in the directory that `descriptor`
   * stands for.
   */
  intern(
    stat: FileStat,
    directory: ServedObject,
    descriptor: number,
    name: FileName,
    cName: Uint8Array,
  ): ServedObject {
    const identity = this.#identify(stat, descriptor, cName, 0);
    const handle = this.#codec.encode(identity, this.salt);
    if (handle === this.root.handle) return this.root;
    let inode = this.#inodes.get(handle);
    if (inode === undefined) {
      inode = new ServedObject(handle, identity, stat.type === FileType.DIR);
      this.#inodes.set(handle, inode);
    }
    inode.addLink(directory, name, stat.nlink);
    return inode;
  }

  /** The object is not in the export any more. */
  forget(handle: FileHandle): void {
    this.#inodes.delete(handle);
    this.#open.delete(handle);
  }

  /** After a removal: the name no longer leads to the inode. */
  unlinked(inode: ServedObject, directory: ServedObject, name: FileName): void {
    inode.removeLink(directory, name);
    if (inode.links.length === 0) this.forget(inode.handle);
  }

  /**
   * An O_PATH descriptor of the directory, valid until the caller returns to the event loop. Throws
   * NFS3ERR_NOTDIR, or as {@link get} does.
   */
  openDirectory(remembered: ServedObject, depth = 0): number {
    if (!remembered.isDirectory) throw new NfsError(Status.NOTDIR);
    if (remembered === this.root) return this.rootDescriptor;
    // A child may refer to a directory that was forgotten and found again since.
    const inode = this.#inodes.get(remembered.handle) ?? remembered;
    const known = this.#open.get(inode.handle);
    if (known !== undefined) {
      this.#checkInside(inode, known);
      return known.descriptor;
    }
    const link = inode.links[0];
    // After two directories have changed places without our knowledge, each may be remembered below the other.
    if (link === undefined || depth > MAX_DEPTH) throw new ObjectMovedError(inode.handle);
    const parent = this.openDirectory(link.directory, depth + 1);
    const result = openAt(parent, cString(link.name), O_PATH | O_DIRECTORY | O_NOFOLLOW);
    if (result === -ENOENT || result === -ENOTDIR || result === -ELOOP) {
      throw new ObjectMovedError(inode.handle);
    }
    const descriptor = check(result);
    const stat = statDescriptor(descriptor);
    if (typeof stat === 'number' || !this.#is(inode, stat, descriptor, EMPTY_PATH, AT_EMPTY_PATH)) {
      closeSync(descriptor);
      throw new ObjectMovedError(inode.handle);
    }
    const opened = { descriptor, insideAt: Number.NEGATIVE_INFINITY };
    this.#open.set(inode.handle, opened);
    this.#checkInside(inode, opened);
    return descriptor;
  }

  /** Attributes of the object, checked to be the one meant. Throws as {@link openDirectory} and {@link get} do. */
  stat(inode: ServedObject): FileStat {
    if (inode.isDirectory) {
      const stat = statDescriptor(this.openDirectory(inode));
      if (typeof stat === 'number') throw new NfsError(Status.IO);
      // A removed directory exists as long as a descriptor of it is open.
      if (stat.nlink === 0) {
        this.forget(inode.handle);
        throw new NfsError(Status.STALE);
      }
      return stat;
    }
    return this.locate(inode).stat;
  }

  /** Where a non-directory is now: a directory's descriptor (valid as above), a name in it, and the attributes. */
  locate(inode: ServedObject): { directory: number; name: Buffer; stat: FileStat } {
    for (let i = inode.links.length - 1; i >= 0; i--) {
      const link = inode.links[i];
      if (link === undefined) continue;
      const directory = this.#tryOpen(link.directory);
      if (directory === undefined) continue;
      const name = cString(link.name);
      const stat = statAt(directory, name);
      if (typeof stat !== 'number' && this.#is(inode, stat, directory, name, 0)) {
        return { directory, name, stat };
      }
    }
    throw new ObjectMovedError(inode.handle);
  }

  #tryOpen(directory: ServedObject): number | undefined {
    try {
      return this.openDirectory(directory);
    } catch (error) {
      if (error instanceof ObjectMovedError || error instanceof NfsError) return undefined;
      throw error;
    }
  }

  /** A new O_PATH descriptor of the object, to be closed by the caller, and its attributes. */
  pin(inode: ServedObject): { descriptor: number; stat: FileStat } {
    if (inode.isDirectory) {
      const stat = this.stat(inode);
      // Not by ".", which needs x permission: the owner may chmod a directory without it.
      const self = cString(`/proc/self/fd/${this.openDirectory(inode)}`);
      return { descriptor: check(openAt(AT_FDCWD, self, O_PATH)), stat };
    }
    const { directory, name } = this.locate(inode);
    const descriptor = openAt(directory, name, O_PATH | O_NOFOLLOW);
    if (descriptor === -ENOENT) throw new ObjectMovedError(inode.handle);
    check(descriptor);
    const stat = statDescriptor(descriptor);
    if (typeof stat !== 'number' && this.#is(inode, stat, descriptor, EMPTY_PATH, AT_EMPTY_PATH)) {
      return { descriptor, stat };
    }
    closeSync(descriptor);
    throw new ObjectMovedError(inode.handle);
  }

  /** Whether the attributes, found at this place, are those of the object that the identity means. */
  matches(identity: ObjectIdentity, stat: FileStat, directory: number, path: Uint8Array): boolean {
    return this.#is(identity, stat, directory, path, 0);
  }

  #is(identity: ObjectIdentity, stat: FileStat, directory: number, path: Uint8Array, flags: number): boolean {
    if (identity.fileid !== stat.fileid || identity.fsid !== stat.fsid) return false;
    if (!this.#isSteady(stat.fsid, directory, path)) return true;
    return (
      identity.birthSeconds === stat.birthSeconds &&
      identity.birthNanoseconds === stat.birthNanoseconds &&
      identity.generation === generationAt(directory, path, flags)
    );
  }

  #identify(stat: FileStat, directory: number, path: Uint8Array, flags: number): ObjectIdentity {
    const { fsid, fileid } = stat;
    if (!this.#isSteady(fsid, directory, path)) {
      return { fsid, fileid, birthSeconds: 0, birthNanoseconds: 0, generation: 0 };
    }
    const { birthSeconds, birthNanoseconds } = stat;
    const generation = generationAt(directory, path, flags);
    return { fsid, fileid, birthSeconds, birthNanoseconds, generation };
  }

  /** Throws NFS3ERR_ACCES where callers may not read or write the content of objects: see FileSystemKind. */
  requireData(fsid: bigint): void {
    if (this.#kinds.get(fsid)?.isSwitches === true) throw new NfsError(Status.ACCES);
  }

  #isSteady(fsid: bigint, directory: number, path: Uint8Array): boolean {
    let kind = this.#kinds.get(fsid);
    if (kind === undefined) {
      const object = Buffer.concat([Buffer.from(`/proc/self/fd/${directory}/`), path.subarray(0, -1)]);
      kind = fileSystemKind(statfsSync(object, { bigint: true }).type);
      this.#kinds.set(fsid, kind);
    }
    return kind.isSteady;
  }

  /**
   * A descriptor still leads to its directory when a local process has moved that out of the export. It must not be
   * used then. Throws NFS3ERR_STALE.
   */
  #checkInside(inode: ServedObject, opened: OpenDirectory): void {
    const now = this.#options.now();
    if (now - opened.insideAt <= this.#options.insideFor) return;
    this.confine(inode, opened.descriptor);
    opened.insideAt = now;
  }

  /** Throws NFS3ERR_STALE unless the directory, open by this descriptor, is below the root at this moment. */
  confine(inode: ServedObject, descriptor: number): void {
    if (inode === this.root || this.#isInside(descriptor)) return;
    this.#open.delete(inode.handle);
    throw new NfsError(Status.STALE);
  }

  #isInside(descriptor: number): boolean {
    const root = pathOf(this.rootDescriptor);
    const path = pathOf(descriptor);
    if (root === undefined || path === undefined) return this.#climbsToRoot(descriptor);
    return root.length === 1 || (path.startsWith(root) && path[root.length] === '/');
  }

  /** For paths that are too long for the kernel to show: goes up to the root of the export, or of the machine. */
  #climbsToRoot(start: number): boolean {
    const up = cString('..');
    let descriptor = check(openAt(start, cString('.'), O_PATH));
    let last = statDescriptor(descriptor);
    for (;;) {
      const parent = openAt(descriptor, up, O_PATH | O_DIRECTORY);
      closeSync(descriptor);
      descriptor = check(parent);
      const stat = statDescriptor(descriptor);
      const isRoot =
        typeof stat !== 'number' && stat.fileid === this.root.fileid && stat.fsid === this.root.fsid;
      const isTop =
        typeof stat === 'number' ||
        (typeof last !== 'number' && stat.fileid === last.fileid && stat.fsid === last.fsid);
      if (isRoot || isTop) {
        closeSync(descriptor);
        return isRoot;
      }
      last = stat;
    }
  }

  #retire(descriptor: number): void {
    // An operation that just got the descriptor may still use it. Close it in the next turn of the event loop.
    if (this.#evicted.push(descriptor) === 1) setImmediate(() => this.#closeEvicted());
  }

  #closeEvicted(): void {
    const descriptors = this.#evicted;
    this.#evicted = [];
    for (const descriptor of descriptors) closeSync(descriptor);
  }
}

/** The path of an open file as the kernel shows it, one character per byte. Undefined: it is too long. */
function pathOf(descriptor: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`, 'latin1');
  } catch (error) {
    if (error instanceof Error && 'errno' in error && error.errno === -ENAMETOOLONG) return undefined;
    throw error;
  }
}
