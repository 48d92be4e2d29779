/** Resolves the path of a mount point without touching the mounted file system, which may be dead or hang. */
import { isUtf8 } from 'node:buffer';
import { realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { absolutePath, notUtf8 } from '../../base/utf8-path.js';
import { mountAt, readMountinfo } from '../../fuse/index.js';

/**
 * The absolute path without symbolic links. If something is mounted on it, the last component is not looked at.
 * Throws UserError if the path is not UTF-8.
 */
export async function locate(path: string): Promise<string> {
  const absolute = absolutePath(path);
  const parent = await real(dirname(absolute));
  const inParent = join(parent, basename(absolute));
  if (mountAt(await readMountinfo(), inParent) !== undefined) return inParent;
  return real(inParent);
}

/** Without symbolic links; the path itself if it does not exist. */
async function real(path: string): Promise<string> {
  const bytes = await realpath(path, { encoding: 'buffer' }).catch(() => Buffer.from(path));
  if (!isUtf8(bytes)) throw notUtf8(bytes.toString());
  return bytes.toString();
}
