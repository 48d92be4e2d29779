/** The kernel's knobs of one FUSE connection in /sys: aborting it, and how far the page cache reads ahead. */
import { constants } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';

/**
 * Ends connection `minor` for good: every waiting caller gets an error, a hung mount comes loose.
 * False: not permitted, or /sys/fs/fuse/connections is not mounted, or there is no such connection.
 */
export async function abortConnection(minor: number): Promise<boolean> {
  return put(`/sys/fs/fuse/connections/${minor}/abort`, '1');
}

/**
 * Sets how far the kernel reads ahead on the mount with device number `major`:`minor`. False: it is not ours to
 * set (in a user namespace), and the kernel's own value, usually 128 KiB, holds.
 */
export async function setReadAhead(major: number, minor: number, kibibytes: number): Promise<boolean> {
  const path = `/sys/class/bdi/${major}:${minor}/read_ahead_kb`;
  if (!(await put(path, String(kibibytes)))) return false;
  return Number(await readFile(path, 'utf8').catch(() => '')) === kibibytes;
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
