/** The one way in which mounting fails: what is wrong, and what to do about it. Owns the texts. */

import { readRights } from './rights.js';
import { selinuxEnabled } from './security-labels.js';

export type MountErrorCode =
  /** /dev/fuse is not there. */
  | 'no-device'
  /** /dev/fuse may not be opened. */
  | 'device-refused'
  /** The kernel has no FUSE. */
  | 'no-fuse'
  /** mount(2) or umount(2) is not permitted. */
  | 'refused'
  | 'no-fusermount'
  | 'fusermount-not-setuid'
  | 'fusermount-failed'
  | 'allow-other'
  | 'mountpoint-missing'
  | 'mountpoint-not-directory'
  | 'mountpoint-refused'
  | 'mountpoint-dead'
  /** Another directory is now where the mount point was at the start. */
  | 'mountpoint-replaced'
  | 'already-mounted'
  | 'not-mounted'
  | 'busy'
  | 'bad-option'
  /** An inherited descriptor that cannot be served. */
  | 'bad-descriptor'
  | 'failed';

/** `message` says what is wrong; `remedy`, where there is one, what to do. */
export class MountError extends Error {
  readonly code: MountErrorCode;
  readonly remedy: string | undefined;

  constructor(code: MountErrorCode, message: string, remedy?: string, options?: ErrorOptions) {
    super(remedy === undefined ? message : `${message}; ${remedy}`, options);
    this.name = 'MountError';
    this.code = code;
    this.remedy = remedy;
  }
}

/** Why /dev/fuse could not be opened, by the system's error code. */
export function deviceError(code: string | undefined): MountError {
  switch (code) {
    case 'ENOENT':
      return new MountError(
        'no-device',
        '/dev/fuse does not exist',
        'in a container pass --device /dev/fuse to podman or docker (Kubernetes: a device plugin for fuse, or ' +
          'privileged: true); on a host load the module (modprobe fuse)',
      );
    case 'EACCES':
    case 'EPERM':
      return new MountError(
        'device-refused',
        '/dev/fuse exists but may not be opened',
        'in a container pass --device /dev/fuse to podman or docker, which also allows the device in its ' +
          'cgroup (Kubernetes: a device plugin for fuse, or privileged: true); on a host make it readable and ' +
          'writable for this user (chmod 666 /dev/fuse, as udev sets it)',
      );
    case 'ENODEV':
    case 'ENXIO':
      return new MountError(
        'no-fuse',
        'this kernel has no FUSE',
        'load the module (modprobe fuse) on the host',
      );
    default:
      return new MountError('failed', `opening /dev/fuse failed: ${code ?? 'unknown error'}`);
  }
}

/** mount_namespaces(7): CAP_SYS_ADMIN is needed in the user namespace that owns the mount namespace. */
const OWN_MOUNT_NAMESPACE =
  'root of a user namespace needs a mount namespace that was made in it: "unshare -Urm", not "unshare -Ur"; ';

/** Why mount(2) failed, by errno name. */
export function mountCallError(
  errno: string,
  mountpoint: string,
  initialUserNamespace = readRights().initialUserNamespace,
): MountError {
  switch (errno) {
    case 'EPERM':
    case 'EACCES':
      return new MountError(
        'refused',
        `the kernel refused to mount on ${mountpoint} (${errno})`,
        `${initialUserNamespace ? '' : OWN_MOUNT_NAMESPACE}a container needs --cap-add SYS_ADMIN (Kubernetes: securityContext.capabilities.add: [SYS_ADMIN]), and, ` +
          'where a security profile forbids mount(2), --security-opt seccomp=unconfined or apparmor=unconfined; an ' +
          'ordinary user needs fusermount3 of the package fuse3',
      );
    case 'ENODEV':
      return new MountError(
        'no-fuse',
        'this kernel has no FUSE',
        'load the module (modprobe fuse) on the host',
      );
    case 'EBUSY':
      return new MountError('busy', `${mountpoint} is busy`);
    case 'EINVAL':
      return new MountError(
        'failed',
        `the kernel rejected the options for mounting on ${mountpoint} (EINVAL)`,
        '/dev/fuse must have been opened in the user namespace that mounts',
      );
    default:
      return new MountError('failed', `mounting on ${mountpoint} failed: ${errno}`);
  }
}

/** The properties of this machine that decide about labels of SELinux. */
function labelsHere() {
  return { selinux: selinuxEnabled(), initialUserNamespace: readRights().initialUserNamespace };
}

/**
 * Why mount(2) failed, by errno name, where these options asked for labels of SELinux. Undefined: for another reason.
 * Without SELinux, the kernel refuses such options of NFS as well; mount(8) does not hand them over there (libmount).
 */
export function labelError(
  errno: string,
  mountpoint: string,
  options: readonly string[],
  { selinux, initialUserNamespace } = labelsHere(),
): MountError | undefined {
  if (options.length === 0 || (errno !== 'EINVAL' && errno !== 'EACCES')) return undefined;
  const asked = options.map((name) => `${name}=`).join(' and ');
  const them = options.length === 1 ? 'it' : 'them';
  if (selinux === false && errno === 'EINVAL')
    return new MountError(
      'bad-option',
      `this kernel has no SELinux enabled, and so refuses to mount with ${asked} (EINVAL)`,
      `leave ${them} out; mount(8) and fstab do so by themselves on such a kernel`,
    );
  if (selinux === false) return undefined;
  // Linux selinux_set_mnt_opts.
  if (errno === 'EACCES' && !initialUserNamespace)
    return new MountError(
      'bad-option',
      `SELinux lets nobody mount with ${asked} in a user namespace (EACCES)`,
      `leave ${them} out, or have root of the machine mount`,
    );
  if (errno === 'EACCES')
    return new MountError(
      'bad-option',
      `SELinux does not let this process mount on ${mountpoint} with ${asked} (EACCES)`,
      'the audit log names the permission that the policy would have to give (relabelfrom, relabelto)',
    );
  return new MountError(
    'bad-option',
    `the kernel refuses to mount on ${mountpoint} with ${asked} (EINVAL)`,
    'its log says why: the loaded policy must know the context; and defcontext= is not for FUSE, unless the policy ' +
      'gives its files labels of their own',
  );
}

/** An ordinary user has no program to mount with. */
export function noFusermountError(): MountError {
  return new MountError(
    'no-fusermount',
    'fusermount3 is not installed, and without it only root (or root of a user namespace) can mount',
    'install the package fuse3, or run under "unshare -Urm", or give the container --cap-add SYS_ADMIN',
  );
}

export function notSetuidError(path: string): MountError {
  return new MountError(
    'fusermount-not-setuid',
    `${path} is not setuid root, so it may not mount`,
    `make it so (chmod u+s ${path}), or run as root of a user namespace (unshare -Urm)`,
  );
}

/** The setuid bit of fusermount3 has no effect here: no_new_privs (prctl(2), PR_SET_NO_NEW_PRIVS). */
export function noNewPrivilegesError(path: string): MountError {
  return new MountError(
    'refused',
    `${path} is setuid root, but setuid programs have no effect here (no_new_privs)`,
    'leave out --security-opt no-new-privileges (Kubernetes: allowPrivilegeEscalation: true), or mount as root with ' +
      '--cap-add SYS_ADMIN',
  );
}

/** fusermount3 obeys /etc/fuse.conf. */
export function allowOtherError(): MountError {
  return new MountError(
    'allow-other',
    'only root may mount with allow_other here',
    'add the line "user_allow_other" to /etc/fuse.conf, or mount without allow_other',
  );
}

/** Why fusermount3 failed, by what it printed. */
export function fusermountError(
  path: string,
  setuid: boolean,
  output: string,
  status: string,
  noNewPrivileges = readRights().noNewPrivileges,
): MountError {
  const said = output.trim().replace(/\s*\n\s*/g, '; ');
  const message = `${path} failed: ${said === '' ? status : said}`;
  if (/user_allow_other/.test(said)) return allowOtherError();
  if (/device not found|failed to open .*\/dev\/fuse.*No such file/i.test(said)) return deviceError('ENOENT');
  if (/failed to open .*\/dev\/fuse/i.test(said)) return deviceError('EACCES');
  if (!setuid && /not permitted|permission denied/i.test(said)) return notSetuidError(path);
  if (/user has no write access|not owned by user|bad mount point|failed to access mountpoint/i.test(said))
    return new MountError(
      'mountpoint-refused',
      message,
      'the mount point must belong to the user that mounts',
    );
  if (/not permitted|permission denied/i.test(said)) {
    if (noNewPrivileges) return noNewPrivilegesError(path);
    return new MountError(
      'refused',
      message,
      'a container needs --cap-add SYS_ADMIN (and perhaps --security-opt seccomp=unconfined)',
    );
  }
  if (/busy/i.test(said)) return new MountError('busy', message);
  return new MountError('fusermount-failed', message);
}
