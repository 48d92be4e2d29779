/**
 * The files that libfuse has open: by the number that libfuse has for them, and by their path, since libfuse takes a
 * path for the file itself.
 */
import { Errno, FuseError } from '../fuse/contract/errno.js';
import type { NodeId } from '../fuse/contract/operations.js';
import type { Resolved } from './resolved.js';

/** libfuse keeps our numbers in a signed 32-bit field, and takes 0 for "none". */
const MAX_NUMBER = 2 ** 31 - 1;

export interface LibfuseFile {
  readonly number: number;
  readonly node: Resolved;
  /** The file system's own handle. */
  readonly fh: number;
  readonly flags: number;
  /** Where libfuse believes it to be; follows renames. */
  path: string;
}

export class LibfuseFiles {
  readonly #byNumber = new Map<number, LibfuseFile>();
  readonly #byPath = new Map<string, Set<LibfuseFile>>();
  #next = 1;

  get size(): number {
    return this.#byNumber.size;
  }

  /** `node` is forgotten when the file is closed. */
  add(path: string, node: Resolved, fh: number, flags: number): LibfuseFile {
    let number = this.#next;
    while (this.#byNumber.has(number)) number = number === MAX_NUMBER ? 1 : number + 1;
    this.#next = number === MAX_NUMBER ? 1 : number + 1;
    const file: LibfuseFile = { number, node, fh, flags, path };
    this.#byNumber.set(number, file);
    this.#list(file);
    return file;
  }

  /** @throws FuseError EBADF */
  get(number: number): LibfuseFile {
    const file = this.#byNumber.get(number);
    if (file === undefined) throw new FuseError(Errno.EBADF, `no open file ${number}`);
    return file;
  }

  remove(file: LibfuseFile): void {
    this.#byNumber.delete(file.number);
    this.#unlist(file);
  }

  /** The node that is open under a path. All that are open under one path are the same one: see Nodes.resolve. */
  nodeAt(path: string): NodeId | undefined {
    const [file] = this.#byPath.get(path) ?? [];
    return file?.node.nodeid;
  }

  /** Files that are open at or below `from` are at or below `to` from now on. */
  renamed(from: string, to: string): void {
    const below = `${from}/`;
    for (const file of this.#byNumber.values()) {
      if (file.path !== from && !file.path.startsWith(below)) continue;
      this.#unlist(file);
      file.path = to + file.path.slice(from.length);
      this.#list(file);
    }
  }

  #list(file: LibfuseFile): void {
    const files = this.#byPath.get(file.path);
    if (files === undefined) this.#byPath.set(file.path, new Set([file]));
    else files.add(file);
  }

  #unlist(file: LibfuseFile): void {
    const files = this.#byPath.get(file.path);
    files?.delete(file);
    if (files?.size === 0) this.#byPath.delete(file.path);
  }
}
