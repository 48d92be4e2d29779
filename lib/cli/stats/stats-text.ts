/** The work of a mount so far, for people: calls with their times, caches, recoveries. */
import { shownName } from '../../base/shown-name.js';
import { describeUnwritten } from '../../mount/failure/unwritten.js';
import { otherVersion } from '../../mount/keep/other-version.js';
import { identityWords } from '../../mount/options/effective-options.js';
import type { MountStats } from '../../mount/serve/mount-stats.js';
import type { ToldStats } from './asking.js';

/** Many lines; safe for a terminal. Throws TypeError for an answer that has not the shape of one. */
export function statsText(stats: ToldStats): string {
  const { caches, rpc, limits } = stats;
  const version = otherVersion(stats.version);
  const identity = identityWords(stats.identity);
  const lines = [
    `${stats.source} on ${stats.mountpoint}, process ${stats.pid}, up ${stats.uptimeSeconds} s`,
    `  memory ${megabytes(stats.residentBytes)}, CPU ${stats.cpuSeconds.toFixed(1)} s, ` +
      `${stats.inodes} inodes, ${stats.openFiles} open files, rsize ${limits.rsize}, wsize ${limits.wsize}`,
    ...(version === undefined ? [] : [`  ${version}`]),
    ...(stats.unwritten.files > 0 ? [`  not written back yet: ${describeUnwritten(stats.unwritten)}`] : []),
    ...(identity.length === 0 ? [] : [`  identity ${identity.join(', ')}`]),
    ...effectiveLine(stats.effectiveOptions),
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
    ...diskLine(caches.disk),
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
  // If root asks, all of these texts come from another user's process, which must not add lines of its own.
  return `${lines.map(shownName).join('\n')}\n`;
}

/** Empty: a process of an older version answers, which does not tell. */
function effectiveLine(options: readonly string[] | undefined): string[] {
  return options === undefined ? [] : [`  options in force: ${options.join(',')}`];
}

/** Empty: there is no cache on the local disk. */
function diskLine(disk: MountStats['caches']['disk']): string[] {
  if (disk === undefined) return [];
  const { hits, misses, stored, bytesRead, bytesStored, dropped, damaged, evicted } = disk;
  return [
    `Local disk: ${hits} hits (${megabytes(bytesRead)}), ${misses} misses, ${stored} stored (${megabytes(bytesStored)})` +
      (dropped > 0 ? `, ${dropped} left out` : '') +
      (damaged > 0 ? `, ${damaged} damaged` : '') +
      (evicted > 0 ? `, ${evicted} files removed` : ''),
  ];
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
