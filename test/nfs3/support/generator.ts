/** Random values of the protocol's types, the same ones in every run: lengths and numbers at their edges first. */

import * as nfs from '../../../lib/programs/nfs3/index.js';

const FAILURES = Object.values(nfs.Status).filter(
  (status): status is nfs.ErrorStatus => status !== nfs.Status.OK,
);

export class Generator {
  #state: number;

  constructor(seed: string) {
    this.#state = [...seed].reduce((sum, c) => (Math.imul(sum, 31) + c.charCodeAt(0)) >>> 0, 1);
  }

  /** Mulberry32. */
  uint32(): number {
    if (this.below(4) === 0) return this.pick([0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]);
    return this.#next();
  }

  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return (x ^ (x >>> 14)) >>> 0;
  }

  /** 0 to `limit` - 1. */
  below(limit: number): number {
    return this.#next() % Math.max(1, Math.floor(limit));
  }

  bool(): boolean {
    return this.below(2) === 1;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }

  either<T>(one: T, other: T): T {
    return this.below(3) === 0 ? other : one;
  }

  maybe<T>(make: () => T): T | undefined {
    return this.bool() ? make() : undefined;
  }

  list<T>(max: number, make: () => T): T[] {
    return Array.from({ length: this.below(max + 1) }, make);
  }

  uint64(): bigint {
    return (BigInt(this.uint32()) << 32n) | BigInt(this.uint32());
  }

  /** An offset that a number can hold. */
  offset(): number {
    return this.pick([0, 1, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER, this.uint32() * 4099]);
  }

  fixed(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }

  bytes(max: number): Buffer {
    return this.fixed(this.pick([0, 1, 2, 3, 4, 5, this.below(300), max]));
  }

  handle(): nfs.FileHandle {
    return nfs.fileHandleFromBytes(this.fixed(this.pick([0, 1, 32, 63, 64, this.below(65)])));
  }

  directoryName(): nfs.DirectoryName {
    return { directory: this.handle(), name: nfs.fileNameFromBytes(this.bytes(nfs.MAX_NAME)) };
  }

  verifierText(): string {
    return this.fixed(8).toString('latin1');
  }

  stable(): nfs.StableHow {
    return this.pick(Object.values(nfs.StableHow));
  }

  failure(): nfs.ErrorStatus {
    return this.pick(FAILURES);
  }

  status(): nfs.Status {
    return this.bool() ? nfs.Status.OK : this.failure();
  }

  time(): nfs.NfsTime {
    return { seconds: this.uint32(), nanoseconds: this.below(1_000_000_000) };
  }

  attributes(): nfs.Fattr3 {
    return {
      type: this.pick(Object.values(nfs.FileType)),
      mode: this.below(0o10000),
      nlink: this.uint32(),
      uid: this.uint32(),
      gid: this.uint32(),
      size: this.uint64(),
      used: this.uint64(),
      rdevMajor: this.uint32(),
      rdevMinor: this.uint32(),
      fsid: this.uint64(),
      fileid: this.uint64(),
      atime: this.time(),
      mtime: this.time(),
      ctime: this.time(),
    };
  }

  wcc(): nfs.WccData {
    return {
      before: this.maybe(() => ({ size: this.uint64(), mtime: this.time(), ctime: this.time() })),
      after: this.maybe(() => this.attributes()),
    };
  }

  newAttributes(): nfs.Sattr3 {
    const time = () => this.pick([undefined, 'server' as const, this.time()]);
    return {
      mode: this.maybe(() => this.uint32()),
      uid: this.maybe(() => this.uint32()),
      gid: this.maybe(() => this.uint32()),
      size: this.maybe(() => this.uint64()),
      atime: time(),
      mtime: time(),
    };
  }

  special(): nfs.MknodWhat {
    const { FileType } = nfs;
    const attributes = this.newAttributes();
    return this.pick<nfs.MknodWhat>([
      {
        type: this.pick([FileType.CHR, FileType.BLK]),
        attributes,
        rdevMajor: this.uint32(),
        rdevMinor: this.uint32(),
      },
      { type: this.pick([FileType.SOCK, FileType.FIFO]), attributes },
      { type: this.pick([FileType.REG, FileType.DIR, FileType.LNK]) },
    ]);
  }

  makeResult(): nfs.MakeResult {
    const directoryWcc = this.wcc();
    const object = this.maybe(() => this.handle());
    const attributes = this.maybe(() => this.attributes());
    return this.either<nfs.MakeResult>(
      { status: nfs.Status.OK, object, attributes, directoryWcc },
      { status: this.failure(), directoryWcc },
    );
  }

  entry(): nfs.DirectoryEntry {
    return { fileid: this.uint64(), name: nfs.fileNameFromBytes(this.bytes(255)), cookie: this.uint64() };
  }

  /** For comparing: bytes of any class as hexadecimal. */
  plain(value: unknown): unknown {
    if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
    if (Array.isArray(value)) return value.map((item) => this.plain(item));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.plain(item)]));
  }
}
