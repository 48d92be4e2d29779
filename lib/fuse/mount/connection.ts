/** The controls of one FUSE connection in /sys: abort it, and set its read-ahead. */
import { constants, readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { textOrNothing } from '../../base/text-file.js';

/**
 * Ends connection `minor` for good: every waiting caller gets an error, and a mount that hangs can be unmounted.
 * False: not permitted, or /sys/fs/fuse/connections is not mounted, or there is no such connection.
 */
export async function abortConnection(minor: number): Promise<boolean> {
  return put(`/sys/fs/fuse/connections/${minor}/abort`, '1');
}

/**
 * Sets how far the kernel reads ahead on the mount with device number `major`:`minor`. False: this process may not set
 * it (in a user namespace), and the kernel's own value, usually 128 KiB, stays.
 */
export async function setReadAhead(major: number, minor: number, kibibytes: number): Promise<boolean> {
  const path = `/sys/class/bdi/${major}:${minor}/read_ahead_kb`;
  if (!(await put(path, String(kibibytes)))) return false;
  return Number(await readFile(path, 'utf8').catch(() => '')) === kibibytes;
}

/**
 * Whether process `pid` holds connection `minor` of /dev/fuse. False as well where the kernel does not tell (it writes
 * `fuse_connection` into fdinfo since Linux 6.14 or so), or this process may not look at that one.
 */
export function isServedBy(pid: number, minor: number): boolean {
  const line = new RegExp(`^fuse_connection:\\s*${minor}$`, 'm');
  const folder = `/proc/${pid}/fdinfo`;
  try {
    return readdirSync(folder).some((fd) => line.test(textOrNothing(`${folder}/${fd}`)));
  } catch {
    return false;
  }
}

async function put(path: string, value: string): Promise<boolean> {
  try {
    // Never create: /sys may be an ordinary directory in a container. Never read: the owner may only write.
    await writeFile(path, value, { flag: constants.O_WRONLY });
    return true;
  } catch {
    return false;
  }
}
