/**
 * A mount that another process has made. This process inherits its descriptor of /dev/fuse, and the user names it as
 * /dev/fd/N instead of a mount point, as libfuse does. Owns that spelling, and what can be found out about such a
 * descriptor without reading a request from it.
 */
import { fstatSync, readFileSync } from 'node:fs';
import { decodeDevice } from '../contract/device-number.js';
import { PollFlag, pollNow } from '../system-calls.js';
import { MountError } from './mount-error.js';

/** The kernel's Documentation/admin-guide/devices.txt. */
const FUSE_DEVICE = { major: 10, minor: 229 } as const;

/** N of "/dev/fd/N"; undefined: this is another mount point. */
export function inheritedDescriptor(mountpoint: string): number | undefined {
  const digits = /^\/dev\/fd\/(0|[1-9]\d{0,8})$/.exec(mountpoint)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/**
 * Checks that `fd` is /dev/fuse, mounted, and not served yet.
 * @throws MountError 'bad-descriptor' with what is wrong and what to do.
 */
export function checkInherited(fd: number): void {
  // The kernel's first request, INIT, waits to be read from the moment of mounting on.
  if ((checkConnected(fd) & PollFlag.IN) === 0)
    throw new MountError(
      'bad-descriptor',
      `descriptor ${fd} is being served by another process, or was`,
      'unmount, open /dev/fuse anew, and mount again',
    );
}

/**
 * Checks that `fd` is /dev/fuse, and mounted; answers what poll(2) says of it.
 * @throws MountError 'bad-descriptor' with what is wrong and what to do.
 */
export function checkConnected(fd: number): number {
  const kind = deviceOf(fd);
  if (kind !== 'fuse')
    throw new MountError(
      'bad-descriptor',
      // Node itself opens descriptors, with the lowest free numbers.
      kind === 'closed'
        ? `descriptor ${fd} is not open`
        : `descriptor ${fd} is not /dev/fuse, or was not handed over`,
      `open /dev/fuse as descriptor ${fd}, mount it, and start nfs-fuse so that it inherits it`,
    );
  const state = pollNow(fd, PollFlag.IN);
  if ((state & PollFlag.ERR) !== 0)
    throw new MountError(
      'bad-descriptor',
      `descriptor ${fd} is /dev/fuse, but not mounted, or not any more`,
      `mount it first: mount -i -t fuse.nfs-fuse -o fd=${fd},rootmode=40000,user_id=…,group_id=… server:/export /mnt`,
    );
  return state;
}

/** The connection's number, with which its mount is device 0:number. Undefined: the kernel does not tell. */
export function connectionNumber(fd: number): number | undefined {
  try {
    const digits = /^fuse_connection:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
    return digits === undefined ? undefined : Number(digits);
  } catch {
    return undefined;
  }
}

function deviceOf(fd: number): 'fuse' | 'other' | 'closed' {
  try {
    const status = fstatSync(fd);
    const { major, minor } = decodeDevice(status.rdev);
    const isFuse = major === FUSE_DEVICE.major && minor === FUSE_DEVICE.minor;
    return isFuse && status.isCharacterDevice() ? 'fuse' : 'other';
  } catch {
    return 'closed';
  }
}
