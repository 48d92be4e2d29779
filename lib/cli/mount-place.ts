/** Where a mount point is, asked without looking at what may be mounted there: it may be dead, or hang. */
import { realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { mountAt, readMountinfo } from '../fuse/index.js';

/** The absolute path without symbolic links. The last component is left alone where something is mounted. */
export async function locate(path: string): Promise<string> {
  const absolute = resolve(path);
  const parent = await realpath(dirname(absolute)).catch(() => dirname(absolute));
  const inParent = join(parent, basename(absolute));
  if (mountAt(await readMountinfo(), inParent) !== undefined) return inParent;
  return realpath(inParent).catch(() => inParent);
}
