/**
 * The system calls that Node has no API for, through koffi. Each returns the result of the call, or the negative errno:
 * no function throws for a failed call.
 */
import koffi from 'koffi';

// null: the symbols of the running process itself, whose C library (glibc or musl) has them all.
const libc = koffi.load(null);

const cRead = libc.func('long read(int fd, void *buffer, size_t size)');
const cWrite = libc.func('long write(int fd, const void *buffer, size_t size)');
const cDup2 = libc.func('int dup2(int from, int to)');
const cPoll = libc.func('int poll(void *descriptors, unsigned long count, int timeout)');
const cMount = libc.func(
  'int mount(const char *source, const void *target, const char *type, unsigned long flags, const char *data)',
);
const cUmount2 = libc.func('int umount2(const void *target, int flags)');
const cUnshare = libc.func('int unshare(int flags)');
const cSocketpair = libc.func('int socketpair(int domain, int type, int protocol, _Out_ int *pair)');
const cRecvmsg = libc.func('long recvmsg(int fd, void *message, int flags)');
const cSendmsg = libc.func('long sendmsg(int fd, void *message, int flags)');

/** read(2) into the first `size` bytes of `buffer`. */
export function readInto(fd: number, buffer: Uint8Array, size: number): number {
  const count = cRead(fd, buffer, size) as number;
  return count < 0 ? -koffi.errno() : count;
}

/** write(2) of the first `size` bytes of `buffer`. */
export function writeFrom(fd: number, buffer: Uint8Array, size: number): number {
  const count = cWrite(fd, buffer, size) as number;
  return count < 0 ? -koffi.errno() : count;
}

/** dup2(2). */
export function duplicateOver(from: number, to: number): number {
  const result = cDup2(from, to) as number;
  return result < 0 ? -koffi.errno() : result;
}

export const PollFlag = { IN: 1, ERR: 8 } as const;

/** poll(2) of one descriptor, without waiting: which of `events` there are, and whether there is an error. */
export function pollNow(fd: number, events: number): number {
  // struct pollfd: int fd; short events, revents.
  const shorts = new Int16Array(4);
  new Int32Array(shorts.buffer)[0] = fd;
  shorts[2] = events;
  const result = cPoll(shorts, 1, 0) as number;
  return result < 0 ? -koffi.errno() : (shorts[3] ?? 0);
}

/** The action of mount(2); mount-flags.ts has the properties of the mount. */
export const MountFlag = { REMOUNT: 0x20 } as const;
export const UmountFlag = { FORCE: 1, DETACH: 2, NOFOLLOW: 8 } as const;

/** mount(2). The target is a path in bytes, without NUL. */
export function mount(source: string, target: Buffer, type: string, flags: number, data: string): number {
  const result = cMount(source, terminated(target), type, flags, data) as number;
  return result < 0 ? -koffi.errno() : 0;
}

/**
 * umount2(2), in a thread: the kernel may first write dirty pages back through the session that runs in this
 * thread.
 */
export function unmount(target: Buffer, flags: number): Promise<number> {
  const path = terminated(target);
  return new Promise((resolve, reject) => {
    // The errno belongs to the other thread and cannot be read here. The caller finds the reason in what is mounted
    // now.
    cUmount2.async(path, flags, (error: Error | null, result: number) => {
      if (error !== null) reject(error);
      else resolve(result);
    });
  });
}

/**
 * Gives the calling thread a copy of its mount namespace, from which no mount reaches the original. Only for a
 * process that ends soon: its other threads stay in the original namespace.
 */
export function unshareMounts(): number {
  const CLONE_NEWNS = 0x20000;
  const MS_REC = 0x4000;
  const MS_PRIVATE = 0x40000;
  if ((cUnshare(CLONE_NEWNS) as number) < 0) return -koffi.errno();
  return mount('none', Buffer.from('/'), 'none', MS_REC | MS_PRIVATE, '');
}

/** A connected pair of stream sockets, both closed on exec. */
export function socketPair(): readonly [number, number] | number {
  const AF_UNIX = 1;
  const SOCK_STREAM = 1;
  const SOCK_CLOEXEC = 0o2000000;
  const pair: [number, number] = [-1, -1];
  const result = cSocketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) as number;
  return result < 0 ? -koffi.errno() : pair;
}

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;

/** struct msghdr with one byte of data and room for a control message, for as long as its parts are held. */
interface OneByteMessage {
  readonly header: Buffer;
  readonly control: Buffer;
  readonly byte: Buffer;
  readonly vector: Buffer;
}

function oneByteMessage(controlBytes: number): OneByteMessage {
  // struct msghdr, iovec and cmsghdr consist of pointer-sized words and ints.
  const byte = Buffer.from(new ArrayBuffer(8));
  const control = Buffer.from(new ArrayBuffer(controlBytes));
  const vector = Buffer.from(new ArrayBuffer(2 * WORD));
  putWord(vector, 0, koffi.address(byte));
  putWord(vector, WORD, 1n);
  // msg_name, msg_namelen (padded), msg_iov, msg_iovlen, msg_control, msg_controllen, msg_flags
  const header = Buffer.from(new ArrayBuffer(7 * WORD));
  putWord(header, 2 * WORD, koffi.address(vector));
  putWord(header, 3 * WORD, 1n);
  putWord(header, 4 * WORD, koffi.address(control));
  putWord(header, 5 * WORD, BigInt(control.length));
  return { header, control, byte, vector };
}

const WORD = koffi.sizeof('void *');
/** The bytes of struct cmsghdr with one int behind it. */
const ONE_DESCRIPTOR = WORD + 3 * 4;

function putWord(buffer: Buffer, at: number, value: bigint): void {
  if (WORD === 8) new BigUint64Array(buffer.buffer, buffer.byteOffset + at, 1)[0] = value;
  else new Uint32Array(buffer.buffer, buffer.byteOffset + at, 1)[0] = Number(value);
}

/**
 * Receives one byte over unix socket `fd`, with the descriptor that was sent along (SCM_RIGHTS), without waiting. -ENOMSG:
 * no descriptor came along.
 */
export function receiveDescriptor(fd: number): number {
  const MSG_DONTWAIT = 0x40;
  const MSG_CMSG_CLOEXEC = 0x40000000;
  const ENOMSG = 42;
  // Room for one descriptor: the kernel hands no others over.
  const { header, control } = oneByteMessage(ONE_DESCRIPTOR);
  const count = cRecvmsg(fd, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) as number;
  if (count < 0) return -koffi.errno();
  const ints = new Int32Array(control.buffer);
  const at = WORD / 4; // after cmsg_len
  if (count === 0 || ints[at] !== SOL_SOCKET || ints[at + 1] !== SCM_RIGHTS) return -ENOMSG;
  return ints[at + 2] ?? -ENOMSG;
}

/** Sends one byte over unix socket `fd`, and `descriptor` along with it (SCM_RIGHTS), without waiting. */
export function sendDescriptor(fd: number, descriptor: number): number {
  const MSG_DONTWAIT = 0x40;
  const MSG_NOSIGNAL = 0x4000;
  // Rounded up to whole words.
  const { header, control } = oneByteMessage(Math.ceil(ONE_DESCRIPTOR / WORD) * WORD);
  putWord(control, 0, BigInt(ONE_DESCRIPTOR));
  const ints = new Int32Array(control.buffer);
  ints.set([SOL_SOCKET, SCM_RIGHTS, descriptor], WORD / 4);
  const count = cSendmsg(fd, header, MSG_DONTWAIT | MSG_NOSIGNAL) as number;
  return count < 0 ? -koffi.errno() : count;
}

function terminated(path: Buffer): Buffer {
  return Buffer.concat([path, Buffer.alloc(1)]);
}
