/** The ends of child processes that Node did not start: waitid(2) and waitpid(2), through koffi. */
import koffi from 'koffi';

// null: the symbols of the running process itself.
const libc = koffi.load(null);
const cWaitid = libc.func('int waitid(int type, unsigned int id, void *info, int options)');
const cWaitpid = libc.func('int waitpid(int pid, void *status, int options)');

const WNOHANG = 1;

/** A child that has ended and that nobody has waited for yet. Undefined: there is none. The child stays in that state. */
export function endedChild(): number | undefined {
  const P_ALL = 0;
  const WEXITED = 4;
  const WNOWAIT = 0x01000000;
  const info = new Int32Array(32);
  if ((cWaitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT) as number) !== 0) return undefined;
  // siginfo_t: three ints, then a union that is aligned like a pointer; si_pid is the first of it.
  const pid = info[koffi.sizeof('void *') === 8 ? 4 : 3];
  return pid === undefined || pid === 0 ? undefined : pid;
}

/** Waits for child `pid`, which has ended, so that the kernel can forget it. */
export function reap(pid: number): void {
  cWaitpid(pid, null, WNOHANG);
}
