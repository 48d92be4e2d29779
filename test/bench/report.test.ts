/** The benchmark's reading of its numbers: medians, ratios, scaled targets, and the documents. */
import t from 'tap';
import { inUnit, median, summarize } from '../../bench/measure.js';
import type { Measurement, Report, RowResult } from '../../bench/model.js';
import { readOptions, readProfileOptions, UsageError } from '../../bench/options.js';
import { REFERENCE, type Reference } from '../../bench/reference.js';
import { formatRoundTrips, sequentialRoundTrips } from '../../bench/report/distance.js';
import { markdown } from '../../bench/report/markdown.js';
import { formatValue, formatVerdict, judge, speedRatio } from '../../bench/report/numbers.js';
import { plot } from '../../bench/report/plot.js';
import { plainTable } from '../../bench/report/terminal.js';
import { allRows } from '../../bench/rows/index.js';
import { FULL, QUICK } from '../../bench/rows/sizes.js';
import { MACHINE } from './machine.js';

function measurement(subject: string, values: number[], cost = false, peakMiB = 100): Measurement {
  return summarize(
    subject,
    values.map((value) => ({
      value,
      seconds: 1,
      loadCpuSeconds: 0.1,
      cpuSeconds: cost ? 0.25 : undefined,
      serverCpuSeconds: cost ? 0.125 : undefined,
      switches: cost ? 35 : undefined,
      peakKiB: cost ? peakMiB * 1024 : undefined,
    })),
  );
}

const reference = (target: number, local: number | undefined, more: Partial<Reference> = {}): Reference => ({
  fuseNfs: 1050,
  nfusr: 1830,
  passthrough: undefined,
  local,
  target,
  ...more,
});

const rate: RowResult = {
  id: 'create',
  title: 'create & close',
  unit: '/s',
  cold: 'nothing',
  operation: { name: 'file', count: 5 },
  reference: reference(1900, 16_000, { remark: 'a remark' }),
  measurements: [
    measurement('nfs-fuse', [900, 1100, 1000], true),
    measurement('local', [8000, 8000, 8000]),
    measurement('sshfs', [500, 500, 500], true),
  ],
  calls: { WRITE: 10, CREATE: 5 },
  seconds: 12,
  failures: { libnfs: 'it broke\nat length' },
};

const time: RowResult = {
  ...rate,
  id: 'ls',
  title: 'ls',
  unit: 's',
  reference: reference(0.5, 0.125),
  measurements: [measurement('nfs-fuse', [2]), measurement('local', [0.25]), measurement('sshfs', [4])],
  failures: {},
};

const stream: RowResult = {
  ...rate,
  id: 'read-server-warm',
  title: 'stream',
  unit: 'MiB/s',
  reference: reference(1600, undefined, { rootlessTarget: 1000 }),
  measurements: [
    measurement('nfs-fuse', [1500], true, 480),
    measurement('before', [300]),
    measurement('rootless', [750], true),
    measurement('before-rootless', [250]),
    measurement('local', [4000]),
  ],
  failures: {},
};

const report: Report = {
  date: '2026-01-02T03:04:05.000Z',
  quick: false,
  runs: 3,
  seconds: 600,
  bufferMiB: { read: 64, write: 128 },
  machine: { ...MACHINE, load: 0.1 },
  disk: 'an image',
  subjects: ['nfs-fuse', 'before', 'rootless', 'before-rootless', 'local', 'sshfs', 'libnfs'].map((name) => ({
    name,
    description: `about ${name}`,
  })),
  rows: [rate, time, stream],
};

t.test('a median of an even number of values lies between the middle two', async (t) => {
  t.equal(median([9, 1, 5]), 5);
  t.equal(median([4, 1, 2, 100]), 3);
});

t.test('more than 1 is faster, in units of speed and of time', async (t) => {
  t.equal(speedRatio(200, 100, '/s'), 2);
  t.equal(speedRatio(1, 4, 's'), 4);
});

t.test('a load is told in the unit of its row', async (t) => {
  const result = { seconds: 2, count: 100, bytes: 8 << 20, cpuSeconds: 0 };
  t.equal(inUnit(result, 's'), 2);
  t.equal(inUnit(result, '/s'), 50);
  t.equal(inUnit(result, 'MiB/s'), 4);
});

t.test('a target is scaled by the local directory: half as fast a machine owes half the speed', async (t) => {
  t.match(judge(rate), [{ subject: 'nfs-fuse', target: 950, set: 1900, scaled: true }]);
  t.ok((judge(rate)[0]?.ratio ?? 0) > 1);
  t.match(judge(time), [{ target: 1, ratio: 0.5 }], 'a time twice as long is allowed twice as long');
  const alone = { ...rate, measurements: rate.measurements.slice(0, 1) };
  t.match(judge(alone), [{ target: 1900, scaled: false }]);
});

t.test(
  'a target without a local number there is not scaled; the rootless mount has one of its own',
  async (t) => {
    t.match(judge(stream), [
      { subject: 'nfs-fuse', target: 1600, scaled: false, ratio: 1500 / 1600 },
      { subject: 'rootless', target: 1000, scaled: false, ratio: 0.75 },
    ]);
  },
);

t.test(
  'a verdict names what is missing, and a target that only a faster disk has put out of reach',
  async (t) => {
    const judgement = { subject: 'nfs-fuse', set: 10, target: 10, scaled: true };
    t.equal(formatVerdict({ ...judgement, ratio: 1.25, setRatio: 1.25 }), '✓ 1.25×');
    t.equal(formatVerdict({ ...judgement, ratio: 0.8, setRatio: 0.9 }), '0.80×, 20 % short');
    t.equal(formatVerdict({ ...judgement, ratio: 0.5, setRatio: 2 }), '0.50×, 50 % short, ✓ as set');
  },
);

t.test('every number of the reference machine belongs to a row, in full and in quick runs', async (t) => {
  for (const sizes of [FULL, QUICK]) {
    const rows = allRows(sizes, 'load');
    const ids = rows.map(({ id }) => id);
    t.equal(new Set(ids).size, ids.length);
    for (const id of Object.keys(REFERENCE)) t.ok(ids.includes(id), id);
    for (const { id, operation } of rows) t.ok(operation.count > 0, `${id} has operations`);
  }
});

t.test('values keep three digits and a unit that fits', async (t) => {
  t.equal(formatValue(0.01234, 's'), '0.012 s');
  t.equal(formatValue(24_576, 'MiB/s'), '24.0 GiB/s');
  t.equal(formatValue(1830.4, '/s'), '1830 /s');
  t.equal(formatValue(524_000, '/s'), '524 k/s');
});

t.test('the document has every row, ratio, cost, call and failure', async (t) => {
  const page = markdown(report);
  t.match(page, '**1000 /s** ±10 %');
  t.match(page, '500 /s ±0 %, 2.00×');
  t.match(page, '| 16.0 k/s | 1900 /s | 8000 /s ±0 % | 950 /s | **1000 /s** | ✓ 1.05× | a remark |');
  t.match(page, '| 1.00 s | **2.00 s** | 0.50×, 50 % short |');
  t.match(page, '| 1600 MiB/s† | **1500 MiB/s** | 0.94×, 7 % short |');
  t.match(page, '| create & close | 5 × file | 3 | 0.25 s | 50000 µs | 25000 µs | 7 | 100 MiB ✓ |');
  t.match(page, '480 MiB, 288 beside the buffers |', 'more than is allowed has no mark');
  t.match(page, '0.25 s | 100 MiB |');
  t.match(page, '| WRITE 10, CREATE 5 |');
  t.match(page, '- create & close, libnfs: it broke\n');
  t.match(plainTable(report), /^create & close +1000 \/s ±10 %/m);
});

t.test('streams of the rootless mount stand beside those of root, before and after', async (t) => {
  const page = markdown(report);
  t.match(page, '|  | before | nfs-fuse | before-rootless | rootless | rootless to root |');
  t.match(page, '| stream | 300 MiB/s ±0 % | 1500 MiB/s ±0 % | 250 MiB/s ±0 % | 750 MiB/s ±0 % | 0.50× |');
});

t.test('round trips that wait for one another follow from the least and the longest distance', async (t) => {
  const far = (rttMs: number, seconds: number) => ({
    rttMs,
    title: 'create & close, far away',
    operation: { name: 'file', count: 5 },
    measurements: [{ ...measurement('nfs-fuse', [1000 / rttMs]), seconds }],
    failures: rttMs === 10 ? { sshfs: 'it broke\nat length' } : {},
  });
  // 5 files: a second more for each millisecond and file.
  const row: RowResult = { ...rate, far: [far(1, 1.0125), far(10, 1.125)] };
  const distances = [0, 1, 10];
  const trips = (tripMs?: number[]) =>
    sequentialRoundTrips(row, 'nfs-fuse', { rttMs: distances, ...(tripMs ? { tripMs } : {}) })?.toFixed(6);
  t.equal(trips(), '2.500000');
  t.equal(trips([0.05, 1.1, 12.55]), '2.000000', 'of that length');
  t.equal(sequentialRoundTrips(row, 'nfs-fuse', { rttMs: [0] }), undefined);
  t.equal(sequentialRoundTrips(row, 'local', { rttMs: distances }), undefined);
  t.equal(formatRoundTrips(-0.001), '0.000', 'never less than none');
  const remote = { ...report, rttMs: distances, rows: [row] };
  const page = markdown(remote);
  t.match(page, '|  | 1 ms: nfs-fuse | 10 ms: nfs-fuse |');
  t.match(page, '| create & close, far away | 1000 /s ±0 % | 100 /s ±0 % |');
  t.match(page, '| create & close | file | 2.50 |');
  t.match(page, '- create & close, sshfs at 10 ms: it broke\n');
  t.match(plainTable(remote), /^create & close +1000 \/s +100 \/s +2\.50$/m);
  t.notMatch(markdown(report), 'round trip', 'without a relay the page says nothing of it');
  const single = { ...report, rttMs: [1] };
  t.match(markdown(single), 'through a relay that adds 1 ms to each round trip.');
  t.notMatch(markdown(single), 'further away');
});

t.test(
  'distances are milliseconds, ascending, each once; without a nearest one of 0 no document is replaced',
  async (t) => {
    t.match(readOptions(['--rtt', '10ms,0,0.2,0'], '/docs', '/here'), { rttMs: [0, 0.2, 10], out: '/docs' });
    t.match(readOptions(['--rtt', '1ms'], '/docs', '/here'), { rttMs: [1], out: undefined });
    t.match(readOptions([], '/docs', '/here'), { rttMs: [] });
  },
);

t.test('the picture is well-formed and has a mark per subject and row', async (t) => {
  const picture = plot(report) ?? '';
  t.match(picture, 'create &amp; close');
  t.notMatch(picture, /NaN|undefined|Infinity/);
  t.equal(picture.match(/class="ours" cx/g)?.length, 4, 'one in the legend, one a row');
  const none = { ...report, rows: [{ ...rate, measurements: rate.measurements.slice(0, 1) }] };
  t.equal(plot(none), undefined, 'without the local directory there is nothing to compare with');
});

t.test('documents are replaced by full runs only, unless a folder is named', async (t) => {
  t.equal(readOptions([], '/docs', '/here').out, '/docs');
  for (const part of ['--quick', '--rows=write', '--peers=sshfs'])
    t.equal(readOptions([part], '/docs', '/here').out, undefined);
  t.equal(readOptions(['--quick', '--out', 'there'], '/docs', '/here').out, '/here/there');
});

t.test('arguments that make no sense are refused in words', async (t) => {
  for (const [args, message] of [
    [['--dir', 'nothing'], /NAME=PATH/],
    [['--dir', 'sshfs=/mnt'], /name sshfs is taken/],
    [['--dir', 'before=/mnt'], /name before is taken/],
    [['--node', '/usr/bin/node'], /NAME=PATH/],
    [['--node', 'old=/usr/bin/node', '--dir', 'old=/mnt'], /name old is taken/],
    [['--runs', '0'], /from 1 to 100/],
    [['--peers', 'ftp'], /there are local, durable, sshfs, libnfs, kernel, rootless/],
    [['--rtt', '1us'], /--rtt 1us: milliseconds/],
    [['--rtt', '2000'], /from 0 to 1000/],
    [['--fast'], /--fast/],
    [['folder'], /folder/],
  ] as const) {
    try {
      readOptions(args, '/docs', '/here');
      t.fail(`${args.join(' ')} was taken`);
    } catch (error) {
      t.ok(error instanceof UsageError);
      t.match((error as Error).message, message);
    }
  }
  t.match(readOptions(['--dir', 'old=mnt'], '/docs', '/here').folders, [{ name: 'old', path: '/here/mnt' }]);
});

t.test('a quick run does each row once, unless it is told otherwise', async (t) => {
  t.equal(readOptions([], '/docs', '/here').runs, 3);
  t.equal(readOptions(['--quick'], '/docs', '/here').runs, 1);
  t.equal(readOptions(['--quick', '--runs', '2'], '/docs', '/here').runs, 2);
});

t.test('a profile of named rows, or a quick one, does not replace the document', async (t) => {
  t.match(readProfileOptions([], '/docs', '/here'), { out: '/docs', runs: 3, rows: undefined });
  t.match(readProfileOptions(['create', 'rm'], '/docs', '/here'), { out: undefined, rows: ['create', 'rm'] });
  t.throws(() => readProfileOptions(['--peers', 'sshfs'], '/docs', '/here'), {
    message: '--peers is an option of npm run bench',
  });
});
