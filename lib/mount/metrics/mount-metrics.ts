/** The metrics of mounts: the name, meaning and source of each. The names are an interface: dashboards and alerts use them. */
import { parseMountTarget } from '../options/mount-target.js';
import type { MountStatistics, RunningMount } from '../serve/running-mount.js';
import { exposed, type Labels, type MetricFamily, type Sample } from './exposition.js';
import { fuseMetrics, nfsMetrics } from './latency-metrics.js';
import { counter, gauge, type MountMetric } from './metric-kinds.js';

/** A mount, and what its process has answered. */
export interface MeasuredMount {
  readonly server: string;
  readonly export: string;
  readonly mountpoint: string;
  /** Tells mounts apart that are equal in all of these: of other mount namespaces, and covered ones. */
  readonly device: string;
  /** Undefined: the process does not answer. */
  readonly stats: MountStatistics | undefined;
}

/** The text of one mount of this process. */
export function metricsOf(mount: Pick<RunningMount, 'mountpoint' | 'statistics'>): string {
  // As another process would get it.
  const stats = JSON.parse(JSON.stringify(mount.statistics())) as MountStatistics;
  const { mountpoint } = mount;
  return metricsText([{ ...serverAndExport(stats.source), mountpoint, device: '', stats }]);
}

/** The labels that the name of a mount in the mount table stands for. */
export function serverAndExport(source: string): { server: string; export: string } {
  try {
    const { host, exportPath } = parseMountTarget(source);
    return { server: host, export: exportPath.toString() };
  } catch {
    // Another program has made the mount, and named it otherwise.
    return { server: '', export: source };
  }
}

/** 1: the process answers. Mounts that do not answer have this metric alone. */
const UP: MetricFamily = {
  name: 'nfs_fuse_up',
  type: 'gauge',
  help: 'Whether the process that serves the mount answers.',
};

const CACHES = ['attributes', 'dentries', 'negativeDentries', 'access', 'listings', 'pages'] as const;

const METRICS: readonly MountMetric[] = [
  gauge('process_uptime_seconds', 'Age of the serving process.', ({ uptimeSeconds }) => uptimeSeconds),
  counter(
    'process_cpu_seconds_total',
    'User and system CPU time of the serving process.',
    ({ cpuSeconds }) => cpuSeconds,
  ),
  gauge(
    'process_resident_memory_bytes',
    'Memory of the serving process.',
    ({ residentBytes }) => residentBytes,
  ),
  gauge('inodes', 'Objects of the file system that the mount remembers.', ({ inodes }) => inodes),
  gauge('open_files', 'Open files.', ({ openFiles }) => openFiles),
  gauge(
    'unwritten_bytes',
    'Data that is not on stable storage of the server yet.',
    ({ unwritten }) => unwritten.bytes,
  ),
  gauge('unwritten_files', 'Files with such data.', ({ unwritten }) => unwritten.files),
  {
    family: {
      name: 'nfs_fuse_buffered_bytes',
      type: 'gauge',
      help: 'File data in memory, read ahead or to be written.',
    },
    samples: ({ bufferedBytes }) =>
      (['read', 'write'] as const).map((kind) => ({ labels: { kind }, value: bufferedBytes[kind] })),
  },
  ...nfsMetrics,
  gauge('rpc_outstanding_calls', 'Calls without a reply yet.', ({ rpc }) => rpc.outstanding),
  counter('rpc_reconnects_total', 'Connections made anew.', ({ rpc }) => rpc.reconnects),
  counter(
    'rpc_major_timeouts_total',
    'Major timeouts: the server did not respond.',
    ({ rpc }) => rpc.majorTimeouts,
  ),
  counter('rpc_late_replies_total', 'Replies after the caller had given up.', ({ rpc }) => rpc.lateReplies),
  counter('rpc_garbage_total', 'Messages that made no sense.', ({ rpc }) => rpc.garbage),
  ...fuseMetrics,
  ...(
    [
      ['hits', 'Answers that came from a cache.'],
      ['misses', 'Questions that a cache could not answer.'],
      ['revalidated', 'Entries that the server confirmed.'],
      ['invalidated', 'Entries that were dropped as outdated.'],
    ] as const
  ).map(
    ([what, help]): MountMetric => ({
      family: { name: `nfs_fuse_cache_${what}_total`, type: 'counter', help },
      samples: ({ caches }) => CACHES.map((cache) => ({ labels: { cache }, value: caches[cache][what] })),
    }),
  ),
  counter(
    'disk_cache_hits_total',
    'Reads that the cache on the local disk answered.',
    ({ caches }) => caches.disk?.hits,
  ),
  counter('disk_cache_misses_total', 'Reads that it could not answer.', ({ caches }) => caches.disk?.misses),
  counter('disk_cache_read_bytes_total', 'Data that came from it.', ({ caches }) => caches.disk?.bytesRead),
  counter('disk_cache_stored_bytes_total', 'Data that went to it.', ({ caches }) => caches.disk?.bytesStored),
  counter(
    'redrives_total',
    'Stale file handles that were looked up again by path.',
    ({ caches }) => caches.redrives,
  ),
  counter('redrives_failed_total', 'Those in vain.', ({ caches }) => caches.redrivesFailed),
  counter(
    'rewrites_total',
    'Writes sent again as the server had restarted.',
    ({ caches }) => caches.rewrites,
  ),
  counter('jukebox_waits_total', 'Times the server asked to try later.', ({ caches }) => caches.jukeboxWaits),
  counter(
    'losses_total',
    'Files that lost data of which no program could be told.',
    ({ caches }) => caches.losses,
  ),
  counter('locks_lost_total', 'Locks lost at a restart of the server.', ({ caches }) => caches.locksLost),
  gauge('locks_held', 'Locks held at the server.', ({ locks }) => locks?.held),
  gauge('locks_waiting', 'Locks waited for.', ({ locks }) => locks?.waiting),
  {
    family: {
      name: 'nfs_fuse_takeovers_total',
      type: 'counter',
      help: 'Processes that went on with the mount of another one, by why that one had ended.',
    },
    samples: ({ takeovers }) => [
      { labels: { after: 'death' }, value: takeovers.deaths },
      { labels: { after: 'restart' }, value: takeovers.restarts },
    ],
  },
];

/** The names of all metrics, with _bucket, _sum and _count for those that are histograms. */
export function metricNames(): string[] {
  return [UP, ...METRICS.map(({ family }) => family)].flatMap(({ name, type }) =>
    type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  );
}

/**
 * The text of all mounts. Equal mounts (the same export at a place of that name in two mount namespaces) also have the
 * label `device`. An answer that makes no sense counts as none.
 */
export function metricsText(mounts: readonly MeasuredMount[]): string {
  const samples = new Map<MetricFamily, Sample[]>();
  const put = (family: MetricFamily, own: Labels, found: readonly Sample[]): void => {
    const list = samples.get(family) ?? [];
    samples.set(family, list);
    for (const sample of found) list.push({ ...sample, labels: { ...own, ...sample.labels } });
  };
  for (const mount of mounts) {
    const own = labelsOf(mount, mounts);
    const measured = measure(mount.stats);
    put(UP, own, [{ labels: {}, value: measured === undefined ? 0 : 1 }]);
    for (const [family, found] of measured ?? []) put(family, own, found);
  }
  return [...samples].map(([family, found]) => exposed(family, found)).join('');
}

function measure(stats: MountStatistics | undefined): [MetricFamily, readonly Sample[]][] | undefined {
  if (stats === undefined) return undefined;
  try {
    return METRICS.map(({ family, samples }) => [family, samples(stats).map(checked)]);
  } catch {
    return undefined;
  }
}

/** The names of programs and procedures come with the answer. @throws TypeError for one that is no text */
function checked(sample: Sample): Sample {
  if (Object.values(sample.labels).every((one) => typeof one === 'string')) return sample;
  throw new TypeError('the name of a procedure is no text');
}

function labelsOf(mount: MeasuredMount, all: readonly MeasuredMount[]): Labels {
  const { server, export: path, mountpoint, device } = mount;
  const isEqual = (other: MeasuredMount) =>
    other.server === server && other.export === path && other.mountpoint === mountpoint;
  const labels = { server, export: path, mountpoint };
  return all.filter(isEqual).length > 1 ? { ...labels, device } : labels;
}
