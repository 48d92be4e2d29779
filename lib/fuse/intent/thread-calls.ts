/**
 * Looks at a thread that waits for an answer of ours: its system call, its memory, its directories. Nothing here may wait
 * for the mount, whose answers come from this very thread: what might wait runs in a thread of libuv's pool.
 */
import koffi from 'koffi';
import type { NodeId } from '../contract/operations.js';
import { readInto } from '../system-calls.js';

const libc = koffi.load(null);
const cOpen = libc.func('int open(const void *path, int flags)');
const cClose = libc.func('int close(int fd)');
const cReadv = libc.func(
  'long process_vm_readv(int pid, const void *local, ulong locals, const void *remote, ulong remotes, ulong flags)',
);
const cNameToHandle = libc.func(
  'int name_to_handle_at(int fd, const char *path, void *handle, void *mountId, int flags)',
);
/** C libraries have no openat2, and old ones no statx. */
const cSyscall4 = libc.func(
  'long syscall(long number, long fd, const void *path, const void *how, long size)',
);
const cSyscall5 = libc.func(
  'long syscall(long number, long fd, const char *path, long flags, long mask, void *buffer)',
);

const OPENAT2 = 437;
const STATX: Readonly<Record<string, number>> = { x64: 332, arm64: 291 };
const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;
const O_DIRECTORY = process.arch === 'arm64' ? 0o40000 : 0o200000;
const RESOLVE_NO_MAGICLINKS = 0x02;
const RESOLVE_NO_SYMLINKS = 0x04;
const RESOLVE_CACHED = 0x20;
const AT_EMPTY_PATH = 0x1000;
const AT_STATX_DONT_SYNC = 0x4000;
const PATH_MAX = 4096;
/** FILEID_INO64_GEN: node id and generation, as fuse_encode_fh of Linux writes them. */
const HANDLE_TYPE = 0x81;
const HANDLE_BYTES = 12;
/** Longer than any line of /proc/TID/syscall. */
const LINE_BYTES = 256;

/** A directory of a thread, whatever its name is for that thread. */
export type ThreadDirectory = 'cwd' | 'root' | number;

const line = Buffer.alloc(LINE_BYTES);
const statx = new Uint32Array(64);
const handle = new Uint32Array(2 + 6);
const mountId = new Int32Array(2);

/** The text of /proc/TID/syscall; undefined: it may not be read, or there is no such thread. */
export function shownCall(tid: number): string | undefined {
  const fd = openPath(`/proc/${tid}/syscall`, O_CLOEXEC);
  if (fd < 0) return undefined;
  const count = readInto(fd, line, LINE_BYTES);
  closeDescriptor(fd);
  return count <= 0 ? undefined : line.toString('latin1', 0, count);
}

/** A descriptor (O_PATH) of a directory of a thread, or -1. The kernel asks the file system nothing for it. */
export function openDirectoryOf(tid: number, which: ThreadDirectory): number {
  return openPath(`/proc/${tid}/${typeof which === 'number' ? `fd/${which}` : which}`, O_PATH | O_CLOEXEC);
}

export function closeDescriptor(fd: number): void {
  cClose(fd);
}

function openPath(path: string, flags: number): number {
  return cOpen(Buffer.from(`${path}\0`, 'latin1'), flags) as number;
}

/** Whether a descriptor leads to node `nodeid` of the FUSE mount with this device number. The kernel asks the mount nothing. */
export function isNode(
  fd: number,
  device: { readonly major: number; readonly minor: number },
  nodeid: NodeId,
): boolean {
  const flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
  if ((cSyscall5(STATX[process.arch] ?? -1, fd, '', flags, 0, statx) as number) !== 0) return false;
  // stx_dev_major, stx_dev_minor
  if (statx[34] !== device.major || statx[35] !== device.minor) return false;
  handle[0] = HANDLE_BYTES;
  if ((cNameToHandle(fd, '', handle, mountId, AT_EMPTY_PATH) as number) !== 0) return false;
  if (handle[0] !== HANDLE_BYTES || handle[1] !== HANDLE_TYPE) return false;
  return (handle[2] ?? 0) * 2 ** 32 + (handle[3] ?? 0) === nodeid;
}

/** Buffers for one look at a thread at a time. */
export class ThreadLook {
  readonly #bytes = Buffer.alloc(PATH_MAX);
  readonly #local = new BigUint64Array([koffi.address(this.#bytes), BigInt(PATH_MAX)]);
  readonly #remote = new BigUint64Array(4);
  readonly #how = new BigUint64Array([
    BigInt(O_PATH | O_DIRECTORY | O_CLOEXEC),
    0n,
    BigInt(RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_CACHED),
  ]);

  /**
   * The path at an address of a thread, a character for each byte. Undefined: it may not be read, or has no end. A page of it may
   * have to come from this mount.
   */
  async pathAt(tid: number, address: number): Promise<string | undefined> {
    const within = PATH_MAX - (address % PATH_MAX);
    // Two pages at the most, of which the second need not be there.
    this.#remote.set([BigInt(address), BigInt(within), BigInt(address + within), BigInt(PATH_MAX - within)]);
    const count = await inPool((done) => cReadv.async(tid, this.#local, 1, this.#remote, 2, 0, done));
    if (count <= 0) return undefined;
    const end = this.#bytes.subarray(0, count).indexOf(0);
    return end < 0 ? undefined : this.#bytes.toString('latin1', 0, end);
  }

  /**
   * A descriptor (O_PATH) of the directory at the end of a way without any symbolic link, or -1. Only what the kernel has at hand
   * is walked.
   */
  async walk(from: number, way: string): Promise<number> {
    const path = Buffer.from(`${way}\0`, 'latin1');
    return inPool((done) => cSyscall4.async(OPENAT2, from, path, this.#how, 24, done));
  }
}

function inPool(start: (done: (error: Error | null, result: number) => void) => void): Promise<number> {
  return new Promise((resolve) => start((error, result) => resolve(error === null ? Number(result) : -1)));
}
