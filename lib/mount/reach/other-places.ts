/** The other places where a file system is mounted. Its process goes on serving them after an unmount. */
import { shownName } from '../../base/shown-name.js';
import { type MountEntry, readMountinfo } from '../../fuse/index.js';
import { contentOf, otherMountTables } from './mount-tables.js';

/** A process in whose mount namespace the file system is mounted. Only one process of each namespace is named. */
export interface Holder {
  readonly pid: number;
  readonly command: string;
}

export interface OtherPlaces {
  /** Mount points in this mount namespace. */
  readonly mountpoints: readonly string[];
  /** Processes in other mount namespaces, as far as /proc shows them. */
  readonly processes: readonly Holder[];
}

const MAX_HOLDERS = 10;

/**
 * Where the file system of the removed mount `gone` is still mounted. Mounts at `notAt` do not count: services with a mount
 * namespace of their own have a copy of each mount at its own place, and containers have it elsewhere.
 */
export async function otherPlacesOf(gone: MountEntry, notAt?: Buffer): Promise<OtherPlaces> {
  const isSame = (entry: MountEntry) =>
    entry.major === gone.major && entry.minor === gone.minor && notAt?.equals(entry.mountpoint) !== true;
  const here = (await readMountinfo()).filter(isSame).map((entry) => entry.mountpoint.toString());
  const processes: Holder[] = [];
  for (const { pid, entries } of otherMountTables()) {
    if (processes.length === MAX_HOLDERS) break;
    if (!entries.some(isSame)) continue;
    const command = contentOf(`/proc/${pid}/comm`)?.toString().trimEnd() ?? '';
    processes.push({ pid, command: shownName(command) });
  }
  return { mountpoints: [...new Set(here)], processes };
}

/** A sentence that says where the file system is still mounted. */
export function describeOtherPlaces({ mountpoints, processes }: OtherPlaces): string {
  if (mountpoints.length > 0) return `It is mounted on ${mountpoints.map(shownName).join(', ')} too.`;
  if (processes.length === 0) return 'Another mount namespace still has it.';
  const named = processes.map(({ pid, command }) => `process ${pid}, ${command}`).join('; ');
  return processes.length === 1
    ? `Another mount namespace still has it (${named}).`
    : `Other mount namespaces still have it (${named}).`;
}
