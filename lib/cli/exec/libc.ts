/** The system calls that `nfs-fuse exec` needs and Node has no API for, through koffi. */
import koffi from 'koffi';

// null: the symbols of the running process itself.
const libc = koffi.load(null);
const cExecve = libc.func('int execve(const char *path, const char **argv, const char **envp)');
const cFcntl = libc.func('int fcntl(int fd, int command, ...)');
const cPrctl = libc.func('int prctl(int option, ...)');
const cWaitid = libc.func('int waitid(int type, unsigned int id, void *info, int options)');
const cWaitpid = libc.func('int waitpid(int pid, void *status, int options)');

const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const WNOHANG = 1;

/**
 * Puts another program in this one's place, with the same process id and the same standard streams: Node has marked
 * those to be closed, and does not wait on pipes. Returns only if it fails, with the errno.
 */
export function replaceProcess(
  path: string,
  argv: readonly string[],
  environment: NodeJS.ProcessEnv,
): number {
  for (const fd of [0, 1, 2]) {
    const flags = cFcntl(fd, F_GETFL, 'int', 0) as number;
    if (flags >= 0) cFcntl(fd, F_SETFL, 'int', flags & ~O_NONBLOCK);
    cFcntl(fd, F_SETFD, 'int', 0);
  }
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value ?? ''}`);
  cExecve(path, [...argv, null], [...variables, null]);
  return koffi.errno();
}

/** What this thread starts from now on has no capabilities by inheritance (capabilities(7), ambient). */
export function dropAmbientCapabilities(): void {
  const PR_CAP_AMBIENT = 47;
  const PR_CAP_AMBIENT_CLEAR_ALL = 4;
  const zeros = ['unsigned long', 0, 'unsigned long', 0, 'unsigned long', 0];
  cPrctl(PR_CAP_AMBIENT, 'unsigned long', PR_CAP_AMBIENT_CLEAR_ALL, ...zeros);
}

/** A child that has ended and that nobody has waited for yet; undefined: there is none. It stays one. */
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

/** Takes note of the end of child `pid`, so that the kernel can forget it. */
export function reap(pid: number): void {
  cWaitpid(pid, null, WNOHANG);
}
