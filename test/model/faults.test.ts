/**
 * Data and changes that a hard mount acknowledged are neither lost nor wrong, whatever the network and the server do: drops,
 * duplicates, reordering, cuts, and crashes that lose uncommitted data. See seeds.ts for running a seed again.
 */
import t from 'tap';
import { ROUGH } from '../support/fault-plan.js';
import { atTier } from '../support/tier.js';
import { mountOptions, roughEmbedded, runRough } from './rough-mount.js';
import { seeds } from './seeds.js';

/** Seeds that have found a fault, with the fault. */
const FOUND = new Map([
  [114, 'rename: an echo where the directory had changed meanwhile'],
  [133, 'rename: an echo of a directory'],
  [247, 'a hole in front of lost data that read as the end of the file'],
  [139, 'a link count that went on counting a silly name'],
]);

for (const seed of seeds(atTier({ ci: 5, all: 20 }), [...FOUND.keys()])) {
  const options = mountOptions(seed);
  const name = `seed ${seed} ${options.join(',')} ${FOUND.get(seed) ?? ''}`;
  t.test(name.replace(/ +/g, ' ').trim(), { timeout: 300_000 }, async (t) => {
    // nfs-ganesha, which takes its time to start, has restarts.test.ts.
    const run = { seed, server: roughEmbedded, rates: ROUGH, operations: 150, crashEvery: 100, options };
    t.ok((await runRough(t, run)) > 0, 'it crashed');
  });
}
