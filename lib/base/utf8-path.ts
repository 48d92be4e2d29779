/**
 * Paths as text. Node puts U+FFFD in the place of bytes that are not UTF-8, and such a path then names nothing, or
 * another file. Owns the refusal of such a path.
 */
import { isUtf8 } from 'node:buffer';
import { readlinkSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { UserError } from './user-error.js';

/** Node's replacement for bytes that are not UTF-8. */
export const REPLACEMENT = '\ufffd';
export const RENAME = 'Mount points, folders and log files have to be: rename it, or name it otherwise.';

export function notUtf8(name: string, remedy = RENAME, exitStatus = 1): UserError {
  return new UserError(`"${name}" is not valid UTF-8.`, { remedy, exitStatus });
}

/** resolve(), for a path from the command line. Throws UserError in a working directory that has no name in UTF-8. */
export function absolutePath(path: string): string {
  const absolute = resolve(path);
  if (isAbsolute(path) || !absolute.includes(REPLACEMENT)) return absolute;
  if (!isUtf8(readlinkSync('/proc/self/cwd', { encoding: 'buffer' }))) throw notUtf8(absolute);
  return absolute;
}
