/** Asks the processes of mounts what these have done. Owns the choice of the mounts, and what is added to an answer. */
import { isRecord } from '../../base/json.js';
import { shownName } from '../../base/shown-name.js';
import { UserError } from '../../base/user-error.js';
import { FILE_SYSTEM_TYPE, flagsOf, type MountEntry, mountAt, readMountinfo } from '../../fuse/index.js';
import { allMounts } from '../../mount/reach/all-mounts.js';
import { lastWords } from '../../mount/reach/journal.js';
import { askStats } from '../../mount/reach/mount-control.js';
import { locate } from '../../mount/reach/mount-place.js';
import type { MountStatistics } from '../../mount/serve/running-mount.js';

/** The answer of a mount's process, which may be of another version: fields that this one knows may be missing. */
export type ToldStats = MountStatistics & {
  readonly journal?: { readonly path: string; readonly line: string } | undefined;
};

/** One mount of several. Its place and its source are as the kernel lists them, whatever the process says. */
export interface AskedMount {
  readonly source: string;
  readonly mountpoint: string;
  /** "major:minor". No other file system has it while this one lives. */
  readonly device: string;
  /** Resolves with undefined if the process does not answer in time, or with nonsense. Never rejects. */
  ask(): Promise<ToldStats | undefined>;
}

/** Of several mounts, one whose process is silent for so long counts as one that does not answer. */
const PATIENCE_MS = 3_000;

/** Throws UserError if nothing of ours is mounted there, or if it cannot be asked. */
export async function statsOf(path: string): Promise<ToldStats> {
  const entry = await entryAt(path);
  const stats = await askStats(entry);
  // The journal has the messages of a mount whose command has returned.
  if (isAnswer(stats)) return { ...told(entry, stats), journal: lastWords(entry.mountpoint.toString()) };
  throw new UserError(cannotBeAsked(path), {
    remedy:
      "It has ended or is stopped, or it is another user's: ask as root, or as the user who has mounted it.",
  });
}

/** The sentence about a mount whose process gives no answer. */
export function cannotBeAsked(path: string): string {
  return `The process that serves ${shownName(path)} cannot be asked.`;
}

/** Throws UserError if nothing of ours is mounted there. */
export async function entryAt(path: string): Promise<MountEntry> {
  const mountpoint = await locate(path);
  const entry = mountAt(await readMountinfo(), mountpoint);
  if (entry?.type === FILE_SYSTEM_TYPE) return entry;
  const words = lastWords(mountpoint);
  const last = words === undefined ? '' : ` Of the last mount there: ${words.line}`;
  throw new UserError(`${path} is not mounted by nfs-fuse.${last}`, {
    remedy: 'findmnt -t fuse.nfs-fuse lists what is.',
  });
}

/**
 * All mounts of this user, for root those of all users; with a path, the one there. Each is asked for itself, so that none
 * waits for another. Throws UserError if nothing of ours is mounted at the path.
 */
export async function mountsToAsk(path?: string): Promise<AskedMount[]> {
  const entries = path === undefined ? await allMounts() : [await entryAt(path)];
  return entries.map(toAsk);
}

function toAsk(entry: MountEntry): AskedMount {
  const place = { source: entry.source.toString(), mountpoint: entry.mountpoint.toString() };
  const ask = () =>
    askStats(entry, PATIENCE_MS).then(
      (answer) => (isAnswer(answer) ? { ...told(entry, answer), ...place } : undefined),
      () => undefined,
    );
  return { ...place, device: `${entry.major}:${entry.minor}`, ask };
}

function isAnswer(answer: unknown): answer is MountStatistics {
  return isRecord(answer);
}

/** With the flags that the kernel obeys: a remount changes them in its table alone. */
function told(entry: MountEntry, stats: MountStatistics): ToldStats {
  const { effectiveOptions } = stats;
  if (!Array.isArray(effectiveOptions)) return stats;
  return { ...stats, effectiveOptions: [...kernelWords(entry), ...effectiveOptions.map(String)] };
}

function kernelWords(entry: MountEntry): string[] {
  const flags = flagsOf(entry);
  const shown = entry.superOptions.split(',');
  return [
    ...(flags.includes('ro') ? [] : ['rw']),
    ...flags,
    ...['default_permissions', 'allow_other'].filter((word) => shown.includes(word)),
  ];
}
