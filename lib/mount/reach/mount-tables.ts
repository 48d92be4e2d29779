/** The tables of mounts of all processes that /proc shows, one for each mount namespace. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { type MountEntry, parseMountinfo } from '../../fuse/index.js';

/** The mounts that one process sees, as every other of its mount namespace does. */
export interface MountTable {
  readonly pid: number;
  readonly entries: readonly MountEntry[];
}

/**
 * The tables of the other mount namespaces. Namespaces of other users are not among them, unless root asks: the kernel
 * shows them only to those who may trace the process.
 */
export function* otherMountTables(): Generator<MountTable> {
  const seen = new Set([namespaceOf('self')]);
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const namespace = namespaceOf(pid);
    if (namespace === undefined || seen.has(namespace)) continue;
    seen.add(namespace);
    const table = contentOf(`/proc/${pid}/mountinfo`);
    if (table !== undefined) yield { pid: Number(pid), entries: parseMountinfo(table) };
  }
}

function namespaceOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch {
    return undefined;
  }
}

/** Undefined: the process has ended, or may not be looked at. */
export function contentOf(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}
