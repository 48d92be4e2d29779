/** The text of Prometheus: escapes, buckets, one line for each series, and nothing that would spoil the text. */
import t from 'tap';
import { exposed } from '../../lib/mount/metrics/exposition.js';
import { type MeasuredMount, metricsText } from '../../lib/mount/metrics/mount-metrics.js';

const COUNTER = { name: 'x_total', type: 'counter', help: 'A \\ and\na line.' } as const;
const HISTOGRAM = { name: 'h_seconds', type: 'histogram', help: 'H.' } as const;

t.test('labels and help are escaped', async (t) => {
  t.equal(
    exposed(COUNTER, [{ labels: { place: '/a "b"\\c\nd' }, value: 1.5 }]),
    '# HELP x_total A \\\\ and\\na line.\n# TYPE x_total counter\nx_total{place="/a \\"b\\"\\\\c\\nd"} 1.5\n',
  );
});

t.test('the buckets of a histogram add up, and the last one is infinite', async (t) => {
  const histogram = { limits: [0.1, 1], counts: [2, 3, 4], sum: 9.5 };
  t.same(
    exposed(HISTOGRAM, [{ labels: { of: 'READ' }, histogram }])
      .split('\n')
      .slice(2),
    [
      'h_seconds_bucket{of="READ",le="0.1"} 2',
      'h_seconds_bucket{of="READ",le="1"} 5',
      'h_seconds_bucket{of="READ",le="+Inf"} 9',
      'h_seconds_sum{of="READ"} 9.5',
      'h_seconds_count{of="READ"} 9',
      '',
    ],
  );
});

t.test('a series occurs once, and what is no number is left out', async (t) => {
  const value = '1\nevil 2' as unknown as number;
  const samples = [
    { labels: { a: '1' }, value: 1 },
    { labels: { a: '1' }, value: 2 },
    { labels: { a: '2' }, value },
    { labels: { a: '3' }, value: Number.NaN },
  ];
  t.same(exposed(COUNTER, samples).split('\n').slice(2), ['x_total{a="1"} 1', '']);
  const uneven = { limits: [1], counts: [1], sum: 1 };
  t.equal(exposed(HISTOGRAM, [{ labels: {}, histogram: uneven }]), '', 'and no family without a sample');
});

t.test('a mount that does not answer, or answers nonsense, is down, and harms no other', async (t) => {
  const mount = (mountpoint: string, stats: unknown, device = '0:1') =>
    ({ server: 's', export: '/e', mountpoint, device, stats }) as MeasuredMount;
  const text = metricsText([mount('/a', undefined), mount('/b', { procedures: 'none' }), mount('/c', [])]);
  t.same(text.split('\n').slice(2), [
    'nfs_fuse_up{server="s",export="/e",mountpoint="/a"} 0',
    'nfs_fuse_up{server="s",export="/e",mountpoint="/b"} 0',
    'nfs_fuse_up{server="s",export="/e",mountpoint="/c"} 0',
    '',
  ]);
  /** An answer of the right form, but for what is in its place. */
  const answer = (part: object): unknown => {
    const caches = ['attributes', 'dentries', 'negativeDentries', 'access', 'listings', 'pages'];
    return {
      ...{ unwritten: {}, bufferedBytes: {}, rpc: {}, takeovers: {}, fuse: {}, latencyLimits: [1] },
      procedures: [],
      caches: Object.fromEntries(caches.map((cache) => [cache, {}])),
      ...part,
    };
  };
  const procedure = { program: 'NFS', procedure: 'READ', calls: 7 };
  const hostile = metricsText([
    mount('/well', answer({ procedures: [procedure] })),
    mount('/counts', answer({ procedures: [{ ...procedure, latencies: { counts: 5, milliseconds: 1 } }] })),
    mount('/fuse', answer({ fuse: { latencies: { READ: { counts: {}, milliseconds: 1 } } } })),
    mount('/limits', answer({ latencyLimits: 5, fuse: { latencies: { READ: { counts: [1, 2] } } } })),
    mount('/name', answer({ procedures: [{ ...procedure, program: { toString: 1 } }] })),
    mount('/list', answer({ procedures: [{ ...procedure, procedure: ['a', 'b'] }] })),
    mount('/inodes', answer({ inodes: { valueOf: 1 } })),
  ]);
  const up = [...hostile.matchAll(/^nfs_fuse_up\{.*mountpoint="(.*)"\} (\d)$/gm)].map(
    ([, place, value]) => `${place} ${value}`,
  );
  t.same(up, ['/well 1', '/counts 1', '/fuse 1', '/limits 0', '/name 0', '/list 0', '/inodes 1']);
  t.match(hostile, /^nfs_fuse_rpc_calls_total\{.*mountpoint="\/well",program="NFS",procedure="READ"\} 7$/m);
  t.notMatch(hostile, /object|mountpoint="\/counts",.*le=|mountpoint="\/fuse",.*le=|nfs_fuse_inodes/);
  const equal = metricsText([mount('/a', undefined, '0:1'), mount('/a', undefined, '0:2')]);
  t.match(equal, /mountpoint="\/a",device="0:1"\} 0\n.*mountpoint="\/a",device="0:2"\} 0\n/);
});
