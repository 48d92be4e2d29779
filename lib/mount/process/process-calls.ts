/** System calls about this process's own descriptors and signals that Node has no API for, through koffi. */
import { constants } from 'node:fs';
import koffi from 'koffi';

// null: the symbols of the running process itself.
const libc = koffi.load(null);
const cDup3 = libc.func('int dup3(int from, int to, int flags)');
const cFcntl = libc.func('int fcntl(int fd, int command, ...)');
const cFlock = libc.func('int flock(int fd, int operation)');
const cSetsid = libc.func('int setsid()');
const cSignal = libc.func('intptr_t signal(int number, intptr_t handler)');

const F_GETFD = 1;
const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const FD_CLOEXEC = 1;

/** Makes descriptor `to` refer to the file of `from`, closed on exec. False: the kernel refused. */
export function replaceDescriptor(from: number, to: number): boolean {
  const O_CLOEXEC = 0o2000000;
  return (cDup3(from, to, O_CLOEXEC) as number) >= 0;
}

/** Closes descriptor `fd` in programs that this process starts. Does nothing if it is not open. */
export function closeOnExec(fd: number): void {
  const flags = cFcntl(fd, F_GETFD, 'int', 0) as number;
  if (flags >= 0 && (flags & FD_CLOEXEC) === 0) cFcntl(fd, F_SETFD, 'int', flags | FD_CLOEXEC);
}

/** Lets writes to `fd` wait until they can be done. */
export function letBlock(fd: number): void {
  const flags = cFcntl(fd, F_GETFL, 'int', 0) as number;
  if (flags >= 0) cFcntl(fd, F_SETFL, 'int', flags & ~constants.O_NONBLOCK);
}

/** Makes this process ignore signal `number`. Has no effect for a signal that the C library keeps for itself. */
export function ignoreSignal(number: number): void {
  const SIG_IGN = 1;
  cSignal(number, SIG_IGN);
}

/** Takes a flock(2) lock of the open file, which all duplicates of the descriptor share. False: somebody else has one. */
export function lockFile(fd: number): boolean {
  const LOCK_EX_NB = 2 | 4;
  return (cFlock(fd, LOCK_EX_NB) as number) === 0;
}

/** Makes this process the leader of a session and a process group of its own, unless it leads a group already. */
export function leadOwnSession(): void {
  cSetsid();
}
