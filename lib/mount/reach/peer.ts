/** The process at the other end of a unix socket, as the kernel knows it: getsockopt(2) with SO_PEERCRED, through koffi. */
import koffi from 'koffi';

// null: the symbols of the running process itself.
const libc = koffi.load(null);
const cGetsockopt = libc.func(
  'int getsockopt(int fd, int level, int name, _Out_ void *value, _Inout_ void *length)',
);

/** A process at the other end of a unix socket, as the kernel knows it. */
export interface Peer {
  /** 0: the process lives in a PID namespace that this process does not see. */
  readonly pid: number;
  /** As this process's user namespace shows it; the overflow uid if the user has no counterpart here. */
  readonly uid: number;
  /** In the same way. */
  readonly gid: number;
}

/** asm/socket.h: most architectures agree on these numbers. */
const SOL_SOCKET = process.arch === 'mips' || process.arch === 'mipsel' ? 0xffff : 1;
const SO_PEERCRED = { ppc64: 21, mips: 18, mipsel: 18 }[process.arch as string] ?? 17;

/**
 * The process at the other end of the connected unix socket `fd`: SO_PEERCRED, unix(7). The kernel recorded it when that
 * process called connect(2) or listen(2). Undefined: the kernel does not tell.
 */
export function peerOf(fd: number): Peer | undefined {
  // struct ucred: pid, uid, gid.
  const credentials = new Uint32Array(3);
  const length = new Uint32Array([credentials.byteLength]);
  if ((cGetsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, length) as number) !== 0) return undefined;
  const [pid, uid, gid] = credentials;
  if (length[0] !== credentials.byteLength) return undefined;
  if (pid === undefined || uid === undefined || gid === undefined) return undefined;
  return { pid, uid, gid };
}
