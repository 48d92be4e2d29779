/** The profiler's reading of V8's profiles: which time counts for what, and how it is shared out. */

import t from 'tap';
import { summarize } from '../../bench/measure.js';
import { type CpuProfile, type ProfileSummary, summarizeProfile } from '../../bench/profile/analysis.js';
import {
  account,
  type ProfiledRow,
  type ProfileReport,
  profileMarkdown,
  profileText,
  sentence,
} from '../../bench/profile/report.js';
import { MACHINE } from './machine.js';

const LIB = 'file:///somewhere/dist/lib';

/** A profile of these call chains, outermost function first, and the microseconds spent in the innermost. */
function profileOf(chains: readonly (readonly [time: number, ...frames: string[]])[]): CpuProfile {
  const nodes: { id: number; callFrame: CpuProfile['nodes'][number]['callFrame']; children: number[] }[] = [
    { id: 1, callFrame: { functionName: '(root)', url: '', lineNumber: -1 }, children: [] },
  ];
  const samples: number[] = [];
  const timeDeltas = [0];
  for (const [time, ...frames] of chains) {
    let parent = nodes[0];
    for (const frame of frames) {
      const [functionName = '', url = ''] = frame.split('@');
      const node = { id: nodes.length + 1, callFrame: { functionName, url, lineNumber: 0 }, children: [] };
      nodes.push(node);
      parent?.children.push(node.id);
      parent = node;
    }
    samples.push(parent?.id ?? 1);
    timeDeltas.push(time);
  }
  return { nodes, samples, timeDeltas };
}

const profile = profileOf([
  [100, '(idle)'],
  [10, '(program)'],
  [20, '(garbage collector)'],
  [30, `readable@${LIB}/fuse/session/channel/device.js`, `readInto@${LIB}/fuse/system-calls.js`, 'recvmsg'],
  [40, `send@${LIB}/fuse/session/session.js`, `writeFrom@${LIB}/fuse/system-calls.js`, 'recvmsg'],
  [50, `writePieces@${LIB}/fuse/session/channel/device.js`, 'writevSync@node:fs', 'writeBuffers'],
  [
    60,
    `send@${LIB}/rpc/rpc-connection.js`,
    'handleWriteReq@node:internal/stream_base_commons',
    'writeBuffer',
  ],
  [70, `lookup@${LIB}/vfs/names/lookup.js`],
  [80, `lookup@${LIB}/vfs/names/lookup.js`, `encode@${LIB}/xdr/xdr-writer.js`],
  [90, 'processTimers@node:internal/timers'],
  [1000, 'post@node:inspector', 'dispatch'],
]);

t.test(
  'each microsecond counts for what it was spent on, native code for what it was called for',
  async (t) => {
    const { categories, idleSeconds, busySeconds } = summarizeProfile(profile);
    const microseconds = Object.fromEntries(
      Object.entries(categories).map(([name, seconds]) => [name, Math.round(seconds * 1e6)]),
    );
    t.strictSame(microseconds, {
      'FUSE read': 30,
      'FUSE write': 90,
      'socket write': 60,
      'event loop': 0,
      'lib/fuse': 0,
      'lib/vfs': 70,
      'lib/programs, rpc, xdr': 80,
      'Node’s JavaScript': 90,
      native: 10,
      'garbage collector': 20,
    });
    t.equal(Math.round(idleSeconds * 1e6), 100);
    t.equal(Math.round(busySeconds * 1e6), 450, 'the profiler itself is left out');
  },
);

t.test('what the event loop does is not idleness: the thread had a CPU for it', async (t) => {
  const { categories, idleSeconds, busySeconds, functions } = summarizeProfile(profile, 480e-6);
  t.equal(Math.round(categories['event loop'] * 1e6), 30);
  t.equal(Math.round(idleSeconds * 1e6), 70);
  t.equal(Math.round(busySeconds * 1e6), 480);
  t.ok(functions.some(({ name, seconds }) => name === '(event loop)' && Math.round(seconds * 1e6) === 30));
  t.equal(summarizeProfile(profile, 100e-6).categories['event loop'], 0, 'sampling is not exact');
});

t.test('functions are named with their files, system calls by their wrappers', async (t) => {
  const { functions } = summarizeProfile(profile);
  t.match(functions.slice(0, 3), [
    { name: 'processTimers', where: 'node:internal/timers' },
    { name: 'encode', where: 'lib/xdr/xdr-writer.js' },
    { name: 'lookup', where: 'lib/vfs/names/lookup.js' },
  ]);
  t.ok(functions.some(({ name, where }) => name === 'readInto' && where.includes('system call')));
  t.ok(functions.some(({ name, where }) => name === 'writeBuffer' && where.includes('handleWriteReq')));
});

function row(summary: ProfileSummary, seconds: number): ProfiledRow {
  const measured = summarize('nfs-fuse', [
    {
      value: 1000 / seconds,
      seconds,
      loadCpuSeconds: 0.1,
      cpuSeconds: 0.45,
      serverCpuSeconds: 0.2,
      switches: 7000,
      peakKiB: 1024,
    },
  ]);
  const operation = { name: 'file', count: 1000 };
  return { id: 'create', title: 'create', operation, measured, calls: { CREATE: 2000 }, profile: summary };
}

t.test('what nobody works for is told, and work side by side as well', async (t) => {
  const summary = summarizeProfile(profile);
  const slow = row(summary, 1);
  t.match(account(slow), { wall: 0.001, client: 0.00045, server: 0.0002, program: 0.0001 });
  t.match(sentence(slow), /^Of 1000 µs per file, the server computes for 200 µs, nfs-fuse for 450 µs/);
  t.match(sentence(slow), /for 250 µs none of them does/);
  t.match(sentence(row(summary, 0.5)), /side by side, 250 µs more/);
});

t.test('the document shares the time without the profiler out as the profile says', async (t) => {
  const report: ProfileReport = {
    date: '2026-01-02T03:04:05.000Z',
    quick: false,
    runs: 3,
    machine: MACHINE,
    disk: 'an image',
    rows: [row(summarizeProfile(profile), 1)],
  };
  const page = profileMarkdown(report);
  t.match(page, '| create, per file | 1000 µs | 100 µs | 450 µs | 200 µs | 250 µs | 7 | 2 |');
  t.match(
    page,
    '| create, per file | 450 µs | 30.0 µs | 90.0 µs | 60.0 µs | 0.000 µs | 0.000 µs | 70.0 µs | 80.0 µs |',
  );
  t.match(page, '| `encode` | lib/xdr/xdr-writer.js | 80.0 µs |');
  t.notMatch(page + profileText(report), /NaN|undefined|Infinity/);
});
