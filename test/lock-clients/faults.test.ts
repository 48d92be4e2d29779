/**
 * Two mounts whose calls to the lock manager are lost, delayed, repeated and reordered, and whose connections break: no lock
 * is had twice, and none is left behind.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { NO_FAULTS, ROUGH, seededPlan } from '../support/fault-plan.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { publicFolder } from '../support/folders.js';
import { mustRun, until } from '../support/process.js';
import { projectRoot, python } from '../support/project.js';
import { watchedServer } from '../support/two-mounts.js';
import { untilEnd } from '../support/until-end.js';

const SEEDS = process.env.NFS_FUSE_TEST_TIER === 'fast' ? 5 : 200;
const ROUNDS = 20;
const PROGRAM = join(projectRoot, 'test/lock-clients/support/rivals.py');
/** More faults than files meet: a lock is few calls. */
const RATES = { ...ROUGH, drop: 15, delay: 80, duplicate: 60, reorder: 60, cut: 15 };
/** Calls whose replies are lost are sent again soon, since a run is short. */
const TIMES = ['hard', 'timeo=5', 'retrans=1'];

t.test(
  'locks behind a bad network are had by one at a time, and all end',
  { timeout: 3_000_000 },
  async (t) => {
    const { server, directory, mount } = await watchedServer(t);
    writeFileSync(join(directory, 'file'), '');
    const client = async () => {
      const proxy = untilEnd(t, await FaultProxy.start({ upstream: server.port }));
      const { mount: mounted } = await mount([...TIMES, `nlmport=${proxy.port}`]);
      return { proxy, mount: mounted };
    };
    const [a, b] = [await client(), await client()];
    const marks = untilEnd(t, publicFolder());
    for (let seed = 1; seed <= SEEDS; seed++) {
      a.proxy.plan = seededPlan(seed, RATES);
      b.proxy.plan = seededPlan(seed + 100_000, RATES);
      const files = [join(a.mount.path, 'file'), join(b.mount.path, 'file')];
      const said = await mustRun([python, PROGRAM, String(seed), String(ROUNDS), marks.path, ...files], {
        timeoutMs: 300_000,
      });
      t.match(said, /^had \d+$/m, `seed ${seed}`);
      t.notMatch(said, /TWICE|ERROR/, `seed ${seed}`);
      a.proxy.plan = NO_FAULTS;
      b.proxy.plan = NO_FAULTS;
      await until(`no lock is left after seed ${seed}`, () => {
        const { held, waiting } = server.locks;
        return held === 0 && waiting === 0;
      });
    }
    const met = [a, b].map(({ proxy }) => proxy.counters);
    for (const counters of met) t.ok(counters.dropped > 0 && counters.duplicated > 0 && counters.cut > 0);
  },
);
