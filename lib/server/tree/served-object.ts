/** An object of the export as the server remembers it: its identity, and the names it was last seen under. */
import type { FileHandle, FileName } from '../../programs/nfs3/index.js';
import type { ObjectIdentity } from './handle.js';

/** A name (bytes, one character each) in a directory. */
export interface Link {
  readonly directory: ServedObject;
  readonly name: FileName;
}

export class ServedObject {
  readonly handle: FileHandle;
  readonly fsid: bigint;
  readonly fileid: bigint;
  readonly birthSeconds: number;
  readonly birthNanoseconds: number;
  readonly generation: number;
  readonly isDirectory: boolean;
  /** The names that it was seen under, the latest one last. None for the root, one for a directory. */
  links: readonly Link[] = [];

  constructor(handle: FileHandle, identity: ObjectIdentity, isDirectory: boolean) {
    this.handle = handle;
    this.fsid = identity.fsid;
    this.fileid = identity.fileid;
    this.birthSeconds = identity.birthSeconds;
    this.birthNanoseconds = identity.birthNanoseconds;
    this.generation = identity.generation;
    this.isDirectory = isDirectory;
  }

  /** `nlink` is the number of names that it has. If that is 1, all names known before are out of date. */
  addLink(directory: ServedObject, name: FileName, nlink: number): void {
    const last = this.links[this.links.length - 1];
    if (last !== undefined && isSame(last, directory, name)) return;
    const link = { directory, name };
    if (this.isDirectory || nlink === 1 || last === undefined) this.links = [link];
    else this.links = [...this.#linksBut(directory, name), link];
  }

  removeLink(directory: ServedObject, name: FileName): void {
    this.links = this.#linksBut(directory, name);
  }

  #linksBut(directory: ServedObject, name: FileName): Link[] {
    return this.links.filter((link) => !isSame(link, directory, name));
  }
}

/** Compares handles: a directory may have been forgotten and found again as another ServedObject. */
function isSame(link: Link, directory: ServedObject, name: FileName): boolean {
  return link.name === name && link.directory.handle === directory.handle;
}
