/** What the benchmark makes of its numbers: medians, ratios, scaled targets, and the documents. */
import t from 'tap';
import { median } from '../../bench/measure.js';
import type { Measurement, Report, RowResult } from '../../bench/model.js';
import { readOptions, UsageError } from '../../bench/options.js';
import { markdown, plainTable } from '../../bench/report/markdown.js';
import { formatValue, judge, speedRatio } from '../../bench/report/numbers.js';
import { plot } from '../../bench/report/plot.js';

function measurement(subject: string, values: number[], cost = false): Measurement {
  return {
    subject,
    values,
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
    cpuSeconds: cost ? 0.25 : undefined,
    peakKiB: cost ? 102_400 : undefined,
  };
}

const rate: RowResult = {
  id: 'create',
  title: 'create & close',
  unit: '/s',
  cold: 'nothing',
  target: { ours: 1900, local: 16_000 },
  rootlessTarget: undefined,
  measurements: [
    measurement('nfs-fuse', [900, 1100, 1000], true),
    measurement('local', [8000, 8000, 8000]),
    measurement('sshfs', [500, 500, 500], true),
  ],
  calls: { WRITE: 10, CREATE: 5 },
  failures: { libnfs: 'it broke\nat length' },
};

const time: RowResult = {
  ...rate,
  id: 'ls',
  title: 'ls',
  unit: 's',
  target: { ours: 0.5, local: 0.125 },
  measurements: [measurement('nfs-fuse', [2]), measurement('local', [0.25]), measurement('sshfs', [4])],
  failures: {},
};

const report: Report = {
  date: '2026-01-02T03:04:05.000Z',
  quick: false,
  runs: 3,
  machine: {
    cpus: 2,
    model: 'CPU',
    memoryMiB: 4096,
    kernel: '6',
    node: '20',
    server: 'nfs-ganesha',
    load: 0.1,
  },
  subjects: ['nfs-fuse', 'local', 'sshfs', 'libnfs'].map((name) => ({ name, description: `about ${name}` })),
  rows: [rate, time],
};

t.test('a median of an even number of values lies between the middle two', async (t) => {
  t.equal(median([9, 1, 5]), 5);
  t.equal(median([4, 1, 2, 100]), 3);
});

t.test('more than 1 is faster, in units of speed and of time', async (t) => {
  t.equal(speedRatio(200, 100, '/s'), 2);
  t.equal(speedRatio(1, 4, 's'), 4);
});

t.test('a target is scaled by the local directory: half as fast a machine owes half the speed', async (t) => {
  t.match(judge(rate), [{ subject: 'nfs-fuse', target: 950, scaled: true }]);
  t.ok((judge(rate)[0]?.ratio ?? 0) > 1);
  t.match(judge(time), [{ target: 1, ratio: 0.5 }]);
  const alone = { ...rate, measurements: rate.measurements.slice(0, 1) };
  t.match(judge(alone), [{ target: 1900, scaled: false }]);
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
  t.match(page, '950 /s (reached, 1.05×)');
  t.match(page, '1.00 s (missed, 0.50×)');
  t.match(page, '0.25 s | 100 MiB');
  t.match(page, '| 15 | WRITE 10, CREATE 5 |');
  t.match(page, '- create & close, libnfs: it broke\n');
  t.match(plainTable(report), /^create & close +1000 \/s ±10 %/m);
});

t.test('the picture is well-formed and has a mark per subject and row', async (t) => {
  const picture = plot(report) ?? '';
  t.match(picture, 'create &amp; close');
  t.notMatch(picture, /NaN|undefined|Infinity/);
  t.equal(picture.match(/class="ours"/g)?.length, 3, 'one in the legend, one a row');
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
    [['--runs', '0'], /from 1 to 100/],
    [['--peers', 'ftp'], /there are local, sshfs, libnfs, rootless/],
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
