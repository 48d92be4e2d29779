/** How a row is measured: who takes part, how often, what is counted, and what is left behind. */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { DIRECT, type Way } from '../../bench/distance/way.js';
import { measureAlong, measureRow } from '../../bench/measure.js';
import type { CountedSession, LoadResult, Row, Store, Subject } from '../../bench/model.js';
import { publicFolder } from '../support/folders.js';
import { untilEnd } from '../support/until-end.js';

const scratch = untilEnd(t, publicFolder());

const result = (seconds: number): LoadResult => ({ seconds, count: 100, bytes: 0, cpuSeconds: seconds / 2 });

interface Events {
  readonly all: string[];
}

/** A subject whose runs take 1, 2, 3 … seconds and that writes down what is done with it. */
function fake(name: string, store: Store, events: Events, fails = false, distant = false): Subject {
  const session = (kind: string): CountedSession => ({
    folder: join(store.path, 'row'),
    load: () => Promise.resolve(result(1)),
    prepare: (cold) => {
      events.all.push(`${name} ${kind} prepare ${cold}`);
      return fails ? Promise.reject(new Error('it is broken')) : Promise.resolve();
    },
    settle: () => Promise.resolve(),
    processes: () => [process.pid],
    servers: () => [],
    freshName: () => 'fresh',
    takeCalls: () => ({ GETATTR: 200 }),
    close: () => {
      events.all.push(`${name} ${kind} close`);
      return Promise.resolve();
    },
  });
  return {
    name,
    description: name,
    store,
    ...(distant ? { distant } : {}),
    takes: () => true,
    open: (_, way) => Promise.resolve(session(way.rttMs === 0 ? 'timed' : `timed at ${way.rttMs}`)),
    openCounted: () => Promise.resolve(session('counted')),
    close: () => Promise.resolve(),
  };
}

function rowOf(cold: Row['cold'], events: Events): Row {
  let runs = 0;
  return {
    id: 'row',
    title: 'row',
    unit: 's',
    cold,
    operation: { name: 'file', count: 100 },
    prepare: (folder) => {
      events.all.push(`fill ${existsSync(folder) ? 'a folder' : 'nothing'}`);
      return Promise.resolve();
    },
    run: () => Promise.resolve(result(++runs)),
  };
}

function store(name: string): Store {
  const path = join(scratch.path, name);
  mkdirSync(path);
  return { path, primeFiles: 1 };
}

const quiet = () => undefined;

t.test(
  'subjects take turns, in another order each time; the warm-up does not count; the row’s folder is gone at the end',
  async (t) => {
    const events: Events = { all: [] };
    const [one, two] = [store('one'), store('two')];
    const subjects = [fake('local', one, events), fake('sshfs', two, events)];
    const row = await measureRow(rowOf('client', events), subjects, {
      runs: 2,
      quick: false,
      progress: quiet,
    });
    t.match(
      row.measurements.map(({ subject, values }) => ({ subject, values })),
      [
        { subject: 'local', values: [4, 5] },
        { subject: 'sshfs', values: [3, 6] },
      ],
    );
    t.match(row.measurements[1], {
      median: 4.5,
      seconds: 4.5,
      loadCpuSeconds: 2.25,
      serverCpuSeconds: undefined,
    });
    t.type(row.measurements[0]?.cpuSeconds, 'number');
    t.equal(row.calls, undefined, 'only the product’s calls are counted');
    t.equal(events.all.filter((what) => what === 'fill a folder').length, 2, 'each store is filled once');
    t.strictSame(events.all.slice(-2), ['local timed close', 'sshfs timed close']);
    for (const { path } of [one, two]) t.notOk(existsSync(join(path, 'row')));
  },
);

t.test(
  'a quick run forgoes the warm-up where all is forgotten before each run, and only there',
  async (t) => {
    for (const [cold, values] of [
      ['all', [1]],
      ['nothing', [2]],
    ] as const) {
      const events: Events = { all: [] };
      const subjects = [fake('local', store(`quick-${cold}`), events)];
      const row = await measureRow(rowOf(cold, events), subjects, { runs: 1, quick: true, progress: quiet });
      t.strictSame(row.measurements[0]?.values, values, cold);
    }
  },
);

t.test(
  'calls are counted in a run of their own, after the same work has been done where it is warm',
  async (t) => {
    const events: Events = { all: [] };
    const subjects = [fake('nfs-fuse', store('counted'), events)];
    const row = await measureRow(rowOf('nothing', events), subjects, {
      runs: 1,
      quick: false,
      progress: quiet,
    });
    t.strictSame(row.calls, { GETATTR: 200 });
    t.equal(events.all.filter((what) => what.startsWith('nfs-fuse counted prepare')).length, 2);
  },
);

t.test(
  'at further distances only those take part that know distance, once, and nothing is counted again',
  async (t) => {
    const events: Events = { all: [] };
    const shared = store('distances');
    const subjects = [fake('nfs-fuse', shared, events, false, true), fake('local', shared, events)];
    const away = (rttMs: number): Way => ({ ...DIRECT, rttMs });
    const options = { runs: 1, quick: false, progress: quiet };
    const usual = rowOf('all', events);
    const farther = { ...usual, title: 'half of it', operation: { name: 'file', count: 50 } };
    const row = await measureAlong(usual, farther, subjects, [DIRECT, away(1), away(10)], options);
    t.strictSame(
      row.measurements.map(({ subject }) => subject),
      ['nfs-fuse', 'local'],
    );
    t.match(row.far, [
      {
        rttMs: 1,
        title: 'half of it',
        operation: { count: 50 },
        measurements: [{ subject: 'nfs-fuse', values: [6] }],
        failures: {},
      },
      { rttMs: 10, measurements: [{ subject: 'nfs-fuse', values: [7] }], failures: {} },
    ]);
    t.strictSame(row.calls, { GETATTR: 200 });
    const opened = events.all.filter((what) => what.endsWith('close'));
    t.strictSame(opened, [
      'nfs-fuse counted close',
      'nfs-fuse timed close',
      'local timed close',
      'nfs-fuse timed at 1 close',
      'nfs-fuse timed at 10 close',
    ]);
    const near = await measureAlong(usual, farther, subjects, [DIRECT], options);
    t.notOk('far' in near, 'with one distance there is nothing further');
  },
);

t.test('a quick run counts the calls of the run that it times', async (t) => {
  const events: Events = { all: [] };
  const subjects = [fake('nfs-fuse', store('counted-quickly'), events)];
  const row = await measureRow(rowOf('all', events), subjects, { runs: 1, quick: true, progress: quiet });
  t.strictSame(row.calls, { GETATTR: 200 });
  t.strictSame(events.all.slice(1), ['nfs-fuse counted prepare all', 'nfs-fuse counted close']);
});

t.test('a subject that fails is left out with its reason, and the others are measured', async (t) => {
  const events: Events = { all: [] };
  const shared = store('failing');
  const subjects = [fake('sshfs', shared, events, true), fake('local', shared, events)];
  const row = await measureRow(rowOf('all', events), subjects, { runs: 1, quick: true, progress: quiet });
  t.strictSame(row.failures, { sshfs: 'it is broken' });
  t.strictSame(
    row.measurements.map(({ subject }) => subject),
    ['local'],
  );
});
