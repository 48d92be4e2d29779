/**
 * nfs-ganesha is killed with SIGKILL and started again, ten times and more in a run, on top of the network's faults: a
 * hard mount goes on, and nothing is lost.
 */
import t from 'tap';
import { ROUGH } from '../support/fault-plan.js';
import { atTier } from '../support/tier.js';
import { mountOptions, roughGanesha, runRough } from './rough-mount.js';
import { seeds } from './seeds.js';

for (const seed of seeds(atTier({ ci: 5, all: 20 }))) {
  const options = mountOptions(seed);
  t.test(`seed ${seed} ${options.join(',')}`.trim(), { timeout: 300_000 }, async (t) => {
    const run = { seed, server: roughGanesha, rates: ROUGH, operations: 120, crashEvery: 36, options };
    const crashes = await runRough(t, run);
    t.ok(crashes >= 10, `${crashes} crashes`);
  });
}
