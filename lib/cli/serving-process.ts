/** Which process serves a mount: what it says of itself, believed only as far as /proc bears it out. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { askStats } from './mount-link.js';

/**
 * The id of the process that serves the mount with this device number, as this process's namespace counts it.
 * Undefined: nobody says so, or who says so does not hold the connection, or may not be looked at.
 */
export async function servingProcess(major: number, minor: number): Promise<number | undefined> {
  const told = await askStats(major, minor).catch(() => undefined);
  if (typeof told !== 'object' || told === null || !('pid' in told)) return undefined;
  const { pid } = told;
  if (typeof pid !== 'number' || !Number.isInteger(pid) || pid < 2) return undefined;
  return (await holdsConnection(pid, minor)) ? pid : undefined;
}

/** Whether the process has /dev/fuse open; where the kernel says for which connection (Linux 6.11), for this one. */
async function holdsConnection(pid: number, minor: number): Promise<boolean> {
  const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
  for (const fd of fds) {
    if ((await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')) !== '/dev/fuse') continue;
    const info = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'latin1').catch(() => '');
    const connection = /^fuse_connection:\s*(\d+)$/m.exec(info)?.[1];
    if (connection === undefined || Number(connection) === minor) return true;
  }
  return false;
}
