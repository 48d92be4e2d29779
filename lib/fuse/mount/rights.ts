/** The rights of this process to mount, as /proc/self/status shows them. Owns the reading of that file. */
import { textOrNothing } from '../../base/text-file.js';

const CAP_SYS_ADMIN = 21n;

export interface Rights {
  /** CAP_SYS_ADMIN in this process's user namespace is in effect. */
  readonly mayMount: boolean;
  /** A setuid program that this process starts can have CAP_SYS_ADMIN. */
  readonly setuidMayMount: boolean;
  /** no_new_privs: setuid programs have no effect. */
  readonly noNewPrivileges: boolean;
  /** A seccomp filter decides about system calls. */
  readonly filtered: boolean;
  /** The user namespace is the machine's own, not one of a container or of unshare(1). */
  readonly initialUserNamespace: boolean;
}

/** Without /proc, the user id decides all of these. */
export function readRights(): Rights {
  const status = textOrNothing('/proc/self/status');
  const root = process.geteuid?.() === 0;
  const hasSysAdmin = (set: string): boolean | undefined => {
    const bits = new RegExp(`^${set}:\\s*([0-9a-f]+)`, 'm').exec(status)?.[1];
    return bits === undefined ? undefined : ((BigInt(`0x${bits}`) >> CAP_SYS_ADMIN) & 1n) === 1n;
  };
  return {
    mayMount: hasSysAdmin('CapEff') ?? root,
    setuidMayMount: hasSysAdmin('CapBnd') ?? true,
    noNewPrivileges: /^NoNewPrivs:\s*1$/m.test(status),
    filtered: /^Seccomp:\s*2$/m.test(status),
    // The machine's own maps all ids to themselves.
    initialUserNamespace: /^\s*0\s+0\s+4294967295\s*$/.test(
      textOrNothing('/proc/self/uid_map') || '0 0 4294967295',
    ),
  };
}

/** Whether this process has CAP_SYS_ADMIN in its user namespace. */
export function mayMount(): boolean {
  return readRights().mayMount;
}
