/** `nfs-fuse stats`: shows the work of a mount so far: calls with their times, caches, recoveries. */
import { printable } from '../../base/log.js';
import { shownJson } from '../../base/shown-name.js';
import { UserError } from '../../base/user-error.js';
import { FILE_SYSTEM_TYPE, mountAt, readMountinfo } from '../../fuse/index.js';
import { describeUnwritten } from '../../mount/failure/unwritten.js';
import { lastWords } from '../../mount/reach/journal.js';
import { askStats } from '../../mount/reach/mount-control.js';
import { locate } from '../../mount/reach/mount-place.js';
import type { MountStats } from '../../mount/serve/mount-stats.js';
import type { MountStatistics } from '../../mount/serve/running-mount.js';
import { type Command, withMountpoint } from '../command.js';

interface StatsArguments {
  readonly mountpoint: string;
  readonly json: boolean | undefined;
}

type ToldStats = MountStatistics & {
  readonly journal?: { readonly path: string; readonly line: string } | undefined;
};

export const statsCommand: Command<StatsArguments> = {
  syntax: 'stats <mountpoint>',
  describe: 'Show what a mount has done: remote calls, caches, recoveries',
  arguments: (args) => withMountpoint(args).option('json', { describe: 'Print JSON', type: 'boolean' }),
  run: async (args, output) => {
    const stats = await statsOf(args.mountpoint);
    output.print(args.json === true ? `${shownJson(stats, 2)}\n` : text(stats));
    return 0;
  },
};

/** Throws UserError if nothing of ours is mounted there, or if it cannot be asked. */
export async function statsOf(path: string): Promise<ToldStats> {
  const mountpoint = await locate(path);
  const entry = mountAt(await readMountinfo(), mountpoint);
  if (entry?.type !== FILE_SYSTEM_TYPE) {
    const words = lastWords(mountpoint);
    const last = words === undefined ? '' : ` Of the last mount there: ${words.line}`;
    throw new UserError(`${path} is not mounted by nfs-fuse.${last}`, {
      remedy: 'findmnt -t fuse.nfs-fuse lists what is.',
    });
  }
  const stats = await askStats(entry);
  // The journal has the messages of a mount whose command has returned.
  if (stats !== undefined) return { ...(stats as ToldStats), journal: lastWords(mountpoint) };
  throw new UserError(`The process that serves ${path} cannot be asked.`, {
    remedy:
      "It has ended or is stopped, or it is another user's: ask as root, or as the user who has mounted it.",
  });
}

function text(stats: ToldStats): string {
  const { caches, rpc, limits } = stats;
  const lines = [
    `${printable(stats.source)} on ${printable(stats.mountpoint)}, process ${stats.pid}, up ${stats.uptimeSeconds} s`,
    `  memory ${megabytes(stats.residentBytes)}, CPU ${stats.cpuSeconds.toFixed(1)} s, ` +
      `${stats.inodes} inodes, ${stats.openFiles} open files, rsize ${limits.rsize}, wsize ${limits.wsize}`,
    ...(stats.unwritten.files > 0 ? [`  not written back yet: ${describeUnwritten(stats.unwritten)}`] : []),
    ...identityLine(stats.identity),
    ...(stats.unseenCallers > 0
      ? [
          `  callers whose groups cannot be read were met ${stats.unseenCallers} times (groups= names groups for them)`,
        ]
      : []),
    '',
    'Call           Number   Resent  Errors   Sent        Received    Average',
    ...[...stats.procedures]
      .sort((a, b) => b.calls - a.calls)
      .map(
        (one) =>
          `${one.procedure.padEnd(12)} ${String(one.calls).padStart(8)} ${String(one.retransmits).padStart(8)} ` +
          `${String(one.errors).padStart(7)}   ${megabytes(one.bytesSent).padEnd(11)} ` +
          `${megabytes(one.bytesReceived).padEnd(11)} ${(one.rtt / Math.max(1, one.replies)).toFixed(2)} ms`,
      ),
    '',
    'Cache              Hits     Misses  Revalidated  Invalidated',
    ...(['attributes', 'dentries', 'negativeDentries', 'access', 'listings', 'pages'] as const).map(
      (name) => {
        const cache = caches[name];
        const cell = (value: number, width: number) => String(value).padStart(width);
        return `${name.padEnd(16)} ${cell(cache.hits, 6)} ${cell(cache.misses, 10)} ${cell(cache.revalidated, 12)} ${cell(cache.invalidated, 12)}`;
      },
    ),
    '',
    `Recovery: ${caches.redrives} redrives (${caches.redrivesFailed} in vain), ${caches.rootRemounts} new roots, ` +
      `${caches.rewrites} rewrites, ${caches.jukeboxWaits} waits for a busy server, ${rpc.reconnects} reconnections` +
      (rpc.garbage > 0 ? `, ${rpc.garbage} answers that made no sense` : ''),
    ...takeoverLine(stats),
    ...lockLines(stats),
    `Silly renames: ${caches.sillyRenames}, removed ${caches.sillyRemoves}, left behind ${caches.sillyRemovesFailed}`,
    ...oddValuesLine(stats.oddValues),
  ];
  if (stats.journal !== undefined)
    lines.push('', `Last message (${stats.journal.path}): ${stats.journal.line}`);
  // If root asks, all of these texts come from another user's process.
  return `${lines.map(printable).join('\n')}\n`;
}

/** Empty: the process that has made the mount serves it. */
function takeoverLine({ takeovers }: ToldStats): string[] {
  const { deaths, restarts, last, kept } = takeovers;
  if (last === undefined) return [];
  const lost =
    last.files === 0 ? 'nothing lost' : `data of ${last.files === 1 ? '1 file' : `${last.files} files`} lost`;
  return [
    `Taken over: ${deaths} times after a death, ${restarts} times by nfs-fuse restart; last ${last.at} from process ` +
      `${last.pid}, within ${last.milliseconds} ms, ${lost}${kept ? '' : '; not kept any more'}`,
  ];
}

function lockLines({ locks, caches }: MountStats): string[] {
  if (locks === undefined) return [];
  const { held, waiting, procedures } = locks;
  const calls = procedures.reduce((sum, { calls }) => sum + calls, 0);
  return [
    `Locks: ${held} held, ${waiting} waited for, ${calls} calls to the lock manager, ` +
      `${caches.locksReclaimed} reclaimed after restarts, ${caches.locksLost} lost`,
  ];
}

/** The identity options as the user wrote them. Empty: there are none. */
function identityLine(rules: MountStats['identity']): string[] {
  const said = (['uid', 'gid'] as const).flatMap((kind) => {
    const { everybody, ranges } = rules[kind];
    return [
      ...(everybody === undefined ? [] : [`${kind}=${everybody}`]),
      ...ranges.map(({ local, server, count }) => `idmap-${kind}=${local}:${server}:${count}`),
    ];
  });
  if (rules.unseenGroups !== undefined) said.push(`groups=${rules.unseenGroups.join(':')}`);
  return said.length === 0 ? [] : [`  identity ${said.join(', ')}`];
}

/** Values that the server should not have sent. Empty: it has sent none. */
function oddValuesLine({ nanoseconds, fileTypes, handles, names }: MountStats['oddValues']): string[] {
  const said = [
    ...(nanoseconds > 0 ? [`${nanoseconds} times with too many nanoseconds`] : []),
    ...(fileTypes > 0 ? [`${fileTypes} unknown file types`] : []),
    ...(handles > 0 ? [`${handles} handles that are too long`] : []),
    ...(names > 0 ? [`${names} impossible names in directories`] : []),
  ];
  return said.length === 0 ? [] : [`Wrong values from the server: ${said.join(', ')}`];
}

function megabytes(bytes: number): string {
  return `${(bytes / (1024 * 1024)).toFixed(1)} MiB`;
}
