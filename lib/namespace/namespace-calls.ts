/** System calls that replace this process and drop its capabilities, for which Node has no API, through koffi. */
import koffi from 'koffi';

// null: the symbols of the running process itself.
const libc = koffi.load(null);
const cExecve = libc.func('int execve(const char *path, const char **argv, const char **envp)');
const cFcntl = libc.func('int fcntl(int fd, int command, ...)');
const cCapget = libc.func('int capget(void *header, void *data)');
const cCapset = libc.func('int capset(void *header, const void *data)');
const cPrctl = libc.func('int prctl(int option, ...)');

const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;

/**
 * Replaces this program with another one, which keeps the process id and the standard streams. Node has marked the streams
 * as closed on exec and as non-blocking; both is undone. Returns only if it fails, with the errno.
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

/**
 * Programs that this thread starts from now on inherit no capabilities: neither the ambient ones, which every program
 * gets, nor the inheritable ones, which programs with file capabilities get (capabilities(7)). Returns the errno, or 0.
 */
export function dropInheritedCapabilities(): number {
  const PR_CAP_AMBIENT = 47;
  const PR_CAP_AMBIENT_CLEAR_ALL = 4;
  const zeros = ['unsigned long', 0, 'unsigned long', 0, 'unsigned long', 0];
  // A kernel before 4.3 has no ambient capabilities, and returns EINVAL.
  cPrctl(PR_CAP_AMBIENT, 'unsigned long', PR_CAP_AMBIENT_CLEAR_ALL, ...zeros);
  const LINUX_CAPABILITY_VERSION_3 = 0x20080522;
  // struct __user_cap_header_struct; then two of effective, permitted, inheritable.
  const header = new Uint32Array([LINUX_CAPABILITY_VERSION_3, 0]);
  const sets = new Uint32Array(6);
  if ((cCapget(header, sets) as number) < 0) return koffi.errno();
  sets[2] = 0;
  sets[5] = 0;
  return (cCapset(header, sets) as number) < 0 ? koffi.errno() : 0;
}
