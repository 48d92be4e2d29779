/** A folder below an export: its names, and how it is mounted as a target of its own. */
import type { MountTarget } from '../mount/options/mount-target.js';

/** No file system of Linux has longer names. */
export const LONGEST_NAME = 255;

/** The names of a path below an export, such as `team/data`. Undefined: it leads out of the export, or is no path. */
export function folderNamesOf(path: string): string[] | undefined {
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  const isBad = (name: string) =>
    name === '..' || name.includes('\0') || Buffer.byteLength(name) > LONGEST_NAME;
  return names.some(isBad) ? undefined : names;
}

/** The folder of these names below an export, as a target of its own. */
export function targetBelow({ host, exportPath, port }: MountTarget, folders: readonly string[]): string {
  const names = Buffer.from(`/${folders.join('/')}`);
  const path = exportPath.equals(Buffer.from('/')) ? names : Buffer.concat([exportPath, names]);
  const shownHost = host.includes(':') ? `[${host}]` : host;
  const plain = [...path].every((byte) => byte > 0x20 && byte < 0x7f && byte !== 0x25);
  if (plain && port === undefined) return `${shownHost}:${path.toString('latin1')}`;
  const escaped = [...path]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[\w./-]/.test(character) ? character : `%${byte.toString(16).padStart(2, '0')}`;
    })
    .join('');
  return `nfs://${shownHost}${port === undefined ? '' : `:${port}`}${escaped}`;
}
