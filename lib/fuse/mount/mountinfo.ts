/**
 * The table of mounts: /proc/self/mountinfo, parsed in bytes (proc_pid_mountinfo(5)). Owns the parser and the
 * questions that mounting asks of it.
 */
import { readFile } from 'node:fs/promises';

/** The file system's type in /proc/mounts. */
export const FILE_SYSTEM_TYPE = 'fuse.nfs-fuse';

/** One line of mountinfo. Paths and source are bytes, with the octal escapes resolved. */
export interface MountEntry {
  readonly id: number;
  readonly major: number;
  /** For a FUSE mount also the number of its connection under /sys/fs/fuse/connections. */
  readonly minor: number;
  readonly mountpoint: Buffer;
  readonly options: string;
  /** "fuse.nfs-fuse" for ours. */
  readonly type: string;
  readonly source: Buffer;
  readonly superOptions: string;
}

/** Every well-formed line of `text`, in its order: a later mount covers an earlier one at the same place. */
export function parseMountinfo(text: Buffer): MountEntry[] {
  const entries: MountEntry[] = [];
  // Latin-1 keeps every byte as one character.
  for (const line of text.toString('latin1').split('\n')) {
    const fields = line.split(' ');
    const separator = fields.indexOf('-', 6);
    const [id, , device, , mountpoint, options] = fields;
    const [type, source, superOptions] = separator < 0 ? [] : fields.slice(separator + 1);
    if (mountpoint === undefined || options === undefined || type === undefined || source === undefined)
      continue;
    const [major, minor] = (device ?? '').split(':').map(Number);
    if (major === undefined || minor === undefined || Number.isNaN(major + minor)) continue;
    entries.push({
      id: Number(id),
      major,
      minor,
      mountpoint: unescapeOctal(mountpoint),
      options,
      type: unescapeOctal(type).toString(),
      source: unescapeOctal(source),
      superOptions: superOptions ?? '',
    });
  }
  return entries;
}

/** Resolves \NNN, which the kernel writes for space, tab, newline, backslash and "#". */
export function unescapeOctal(text: string): Buffer {
  return Buffer.from(
    text.replace(/\\([0-3][0-7]{2})/g, (_, digits: string) =>
      String.fromCharCode(Number.parseInt(digits, 8)),
    ),
    'latin1',
  );
}

/** All that this process sees mounted. */
export async function readMountinfo(): Promise<MountEntry[]> {
  return parseMountinfo(await readFile('/proc/self/mountinfo'));
}

/** The mount that is on top at `path` (absolute, without symbolic links), if one is mounted right there. */
export function mountAt(entries: readonly MountEntry[], path: string | Buffer): MountEntry | undefined {
  const wanted = Buffer.from(path);
  return entries.findLast((entry) => entry.mountpoint.equals(wanted));
}
