/**
 * A file in memory that outlives the process: a memfd, or a file that somebody gave. Owns the system calls: the memory is
 * mapped, so that storing a number in it needs none, and every page of it is allocated before it is touched, since a store
 * into a page that there is no memory for would end the process.
 */
import { fstatSync, ftruncateSync } from 'node:fs';
import koffi from 'koffi';

const libc = koffi.load(null);
const cMemfdCreate = libc.func('int memfd_create(const char *name, unsigned int flags)');
const cMmap = libc.func(
  'void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)',
);
const cMadvise = libc.func('int madvise(void *address, size_t length, int advice)');
const cFallocate = libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)');

const MFD_CLOEXEC = 1;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MADV_POPULATE_WRITE = 23;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
const MAP_FAILED = 2n ** BigInt(8 * koffi.sizeof('void *')) - 1n;

/** A piece of the file that is mapped, by word size. */
export interface MappedPiece {
  readonly bytes: Buffer;
  readonly u32: Uint32Array;
  /** The same as signed numbers: the engine has no need to put any of them on the heap. */
  readonly i32: Int32Array;
  readonly f64: Float64Array;
}

export class SharedFile {
  readonly fd: number;

  /** `fd` belongs to the caller. */
  constructor(fd: number) {
    this.fd = fd;
  }

  /** Memory without a name, which lives as long as some process has it open. Undefined: the kernel gives none. */
  static inMemory(name: string): SharedFile | undefined {
    const fd = cMemfdCreate(name, MFD_CLOEXEC) as number;
    return fd < 0 ? undefined : new SharedFile(fd);
  }

  get size(): number {
    return fstatSync(this.fd).size;
  }

  /** Makes the file empty. */
  clear(): void {
    ftruncateSync(this.fd, 0);
  }

  /** Makes sure that these bytes have memory behind them. False: there is none left, or the file system cannot promise it. */
  allocate(offset: number, length: number): boolean {
    const before = this.size;
    if ((cFallocate(this.fd, 0, offset, length) as number) === 0) return true;
    // A part may be there, and a file that ends in the middle of a piece would count as cut off.
    if (this.size > before) ftruncateSync(this.fd, before);
    return false;
  }

  /** Gives the memory behind these bytes back; they read as zeros. */
  release(offset: number, length: number): void {
    cFallocate(this.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
  }

  /**
   * Enters the pages of allocated memory in this process's page table in one go: otherwise each first store is an exception, which
   * costs as much as to fill the page. Kernels before 5.14 leave it at that.
   */
  populate({ bytes }: Pick<MappedPiece, 'bytes'>): void {
    cMadvise(bytes, bytes.length, MADV_POPULATE_WRITE);
  }

  /** Undefined: the kernel maps no more. `offset` is a multiple of the page size. */
  map(offset: number, length: number): MappedPiece | undefined {
    const address = cMmap(null, length, PROT_READ_WRITE, MAP_SHARED, this.fd, offset) as bigint | null;
    if (address === null || BigInt(address) === MAP_FAILED) return undefined;
    const memory = koffi.view(address, length);
    return {
      bytes: Buffer.from(memory),
      u32: new Uint32Array(memory),
      i32: new Int32Array(memory),
      f64: new Float64Array(memory),
    };
  }
}
