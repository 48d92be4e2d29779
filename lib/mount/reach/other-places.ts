/** The other places where a file system is mounted. Its process goes on serving them after an unmount. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { printable } from '../../base/log.js';
import { type MountEntry, parseMountinfo, readMountinfo } from '../../fuse/index.js';

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

/** Where the file system of the removed mount `gone` is still mounted. */
export async function otherPlacesOf(gone: MountEntry): Promise<OtherPlaces> {
  const isSame = (entry: MountEntry) => entry.major === gone.major && entry.minor === gone.minor;
  const here = (await readMountinfo()).filter(isSame).map((entry) => entry.mountpoint.toString());
  const seen = new Set([namespaceOf('self')]);
  const processes: Holder[] = [];
  for (const pid of readdirSync('/proc')) {
    if (processes.length === MAX_HOLDERS) break;
    if (!/^\d+$/.test(pid)) continue;
    const namespace = namespaceOf(pid);
    if (namespace === undefined || seen.has(namespace)) continue;
    seen.add(namespace);
    const table = contentOf(`/proc/${pid}/mountinfo`);
    if (table === undefined || !parseMountinfo(table).some(isSame)) continue;
    const command = contentOf(`/proc/${pid}/comm`)?.toString().trimEnd() ?? '';
    processes.push({ pid: Number(pid), command: printable(command) });
  }
  return { mountpoints: [...new Set(here)], processes };
}

/** A sentence that says where the file system is still mounted. */
export function describeOtherPlaces({ mountpoints, processes }: OtherPlaces): string {
  if (mountpoints.length > 0) return `It is mounted on ${mountpoints.map(printable).join(', ')} too.`;
  if (processes.length === 0) return 'Another mount namespace still has it.';
  const named = processes.map(({ pid, command }) => `process ${pid}, ${command}`).join('; ');
  return processes.length === 1
    ? `Another mount namespace still has it (${named}).`
    : `Other mount namespaces still have it (${named}).`;
}

function namespaceOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch {
    return undefined;
  }
}

function contentOf(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}
