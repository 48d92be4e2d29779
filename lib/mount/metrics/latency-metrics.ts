/** The metrics of each remote procedure and of each operation that the kernel asks for. */
import type { LatencyCounts } from '../../base/latencies.js';
import type { MountStatistics } from '../serve/running-mount.js';
import type { Sample } from './exposition.js';
import type { MountMetric } from './metric-kinds.js';

type Procedure = MountStatistics['procedures'][number];

/** The counters of a session as JSON has them. */
interface ToldFuse {
  readonly requests?: Readonly<Record<string, number>>;
  readonly errors?: Readonly<Record<string, number>>;
  readonly inFlight?: number;
  readonly latencies?: Readonly<Record<string, LatencyCounts>>;
}

function ofProcedures(name: string, help: string, value: (one: Procedure) => number): MountMetric {
  return {
    family: { name: `nfs_fuse_rpc_${name}`, type: 'counter', help },
    samples: (stats) =>
      allProcedures(stats).map((one) => ({ labels: procedureLabels(one), value: value(one) })),
  };
}

/** NFS, and the lock manager where locks are held at the server. */
export const nfsMetrics: readonly MountMetric[] = [
  ofProcedures('calls_total', 'Calls to the server.', ({ calls }) => calls),
  ofProcedures('retransmissions_total', 'Times a call was sent again.', ({ retransmits }) => retransmits),
  ofProcedures(
    'errors_total',
    'Calls without a usable reply; NFS statuses are results.',
    ({ errors }) => errors,
  ),
  ofProcedures('sent_bytes_total', 'Bytes of calls, sent again or not.', ({ bytesSent }) => bytesSent),
  ofProcedures('received_bytes_total', 'Bytes of replies.', ({ bytesReceived }) => bytesReceived),
  {
    family: {
      name: 'nfs_fuse_rpc_rtt_seconds',
      type: 'histogram',
      help: 'Times from the first sending of a call to its reply.',
    },
    samples: (stats) =>
      allProcedures(stats).flatMap((one) => histogram(stats, procedureLabels(one), one.latencies)),
  },
  {
    family: {
      name: 'nfs_fuse_rpc_execution_seconds',
      type: 'histogram',
      help: 'Times from the call to its reply, the queue of this client included.',
    },
    samples: (stats) =>
      allProcedures(stats).flatMap((one) => histogram(stats, procedureLabels(one), one.executions)),
  },
];

export const fuseMetrics: readonly MountMetric[] = [
  {
    family: { name: 'nfs_fuse_fuse_requests_total', type: 'counter', help: 'Requests of the kernel.' },
    samples: (stats) => byName(fuseOf(stats).requests, 'operation'),
  },
  {
    family: {
      name: 'nfs_fuse_fuse_errors_total',
      type: 'counter',
      help: 'Answers to the kernel that are errors.',
    },
    samples: (stats) => byName(fuseOf(stats).errors, 'errno'),
  },
  {
    family: {
      name: 'nfs_fuse_fuse_requests_in_flight',
      type: 'gauge',
      help: 'Requests of the kernel that are not answered yet.',
    },
    samples: (stats) => {
      const { inFlight } = fuseOf(stats);
      return inFlight === undefined ? [] : [{ labels: {}, value: inFlight }];
    },
  },
  {
    family: {
      name: 'nfs_fuse_fuse_request_seconds',
      type: 'histogram',
      help: 'Times from the arrival of a request of the kernel to its answer.',
    },
    samples: (stats) =>
      Object.entries(fuseOf(stats).latencies ?? {}).flatMap(([operation, latencies]) =>
        histogram(stats, { operation }, latencies),
      ),
  },
];

function allProcedures({ procedures, locks }: MountStatistics): readonly Procedure[] {
  return [...procedures, ...(locks?.procedures ?? [])];
}

function procedureLabels({ program, procedure }: Procedure) {
  return { program, procedure };
}

function fuseOf({ fuse }: MountStatistics): ToldFuse {
  return fuse as ToldFuse;
}

function byName(counts: Readonly<Record<string, number>> | undefined, label: string): Sample[] {
  return Object.entries(counts ?? {}).map(([name, value]) => ({ labels: { [label]: name }, value }));
}

/** Empty: a process of an older version answers, which does not measure this. */
function histogram(
  { latencyLimits }: MountStatistics,
  labels: Readonly<Record<string, string>>,
  latencies: LatencyCounts | undefined,
): Sample[] {
  if (latencies === undefined || latencyLimits === undefined) return [];
  const limits = latencyLimits.map((milliseconds) => Number((milliseconds / 1_000).toPrecision(6)));
  return [{ labels, histogram: { limits, counts: latencies.counts, sum: latencies.milliseconds / 1_000 } }];
}
