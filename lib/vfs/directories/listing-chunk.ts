/** Entries of a directory that came in one reply, packed: a huge directory would otherwise be millions of objects. */
import {
  type DirectoryEntryPlus,
  type Fattr3,
  type FileHandle,
  type FileName,
  fileNameFromBytes,
} from '../../programs/nfs3/index.js';

export interface ListingEntry {
  readonly name: FileName;
  readonly fileid: bigint;
  /** From READDIRPLUS, and only where the server sent it. */
  readonly handle: FileHandle | undefined;
  readonly type: Fattr3['type'] | undefined;
}

/** Bytes that the parts of a chunk take beside their contents. */
const CHUNK_OVERHEAD = 1024;
/** Where a name ends, the fileid, the type. */
const ENTRY_BYTES = 4 + 8 + 1;
/** A string of its own, and the reference to it. */
const HANDLE_OVERHEAD = 24;

export class ListingChunk {
  /** Position of its first entry in the pass. */
  readonly first: number;
  readonly count: number;
  /** Memory that it takes, roughly. */
  readonly bytes: number;
  /** A copy: slices would keep the whole reply alive. */
  readonly #names: Buffer;
  readonly #ends: Uint32Array;
  readonly #fileids: BigUint64Array;
  /** 0: not known. */
  readonly #types: Uint8Array;
  readonly #handles: readonly (FileHandle | undefined)[] | undefined;

  constructor(first: number, entries: readonly DirectoryEntryPlus[]) {
    this.first = first;
    this.count = entries.length;
    this.#names = Buffer.allocUnsafeSlow(entries.reduce((bytes, { name }) => bytes + name.length, 0));
    this.#ends = new Uint32Array(entries.length);
    this.#fileids = new BigUint64Array(entries.length);
    this.#types = new Uint8Array(entries.length);
    let end = 0;
    let handles = 0;
    for (const [at, { name, fileid, attributes, handle }] of entries.entries()) {
      end += this.#names.write(name, end, 'latin1');
      this.#ends[at] = end;
      this.#fileids[at] = fileid;
      this.#types[at] = attributes?.type ?? 0;
      if (handle !== undefined) handles += HANDLE_OVERHEAD + handle.length;
    }
    this.#handles = handles === 0 ? undefined : entries.map(({ handle }) => handle);
    this.bytes = CHUNK_OVERHEAD + this.#names.length + this.count * ENTRY_BYTES + handles;
  }

  /** `at` counts from the chunk's first entry. */
  name(at: number): FileName {
    return fileNameFromBytes(this.#names.subarray(at === 0 ? 0 : this.#ends[at - 1], this.#ends[at]));
  }

  /** The entries of a type, where it is known. */
  *ofType(type: Fattr3['type']): Generator<ListingEntry> {
    for (let at = this.#types.indexOf(type); at >= 0; at = this.#types.indexOf(type, at + 1))
      yield this.entry(at);
  }

  entry(at: number): ListingEntry {
    const type = this.#types[at] ?? 0;
    return {
      name: this.name(at),
      fileid: this.#fileids[at] ?? 0n,
      handle: this.#handles?.[at],
      type: type === 0 ? undefined : (type as Fattr3['type']),
    };
  }
}
