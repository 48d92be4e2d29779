/**
 * Nothing that a hard mount acknowledged is lost or wrong, whatever the network and the server do: drops,
 * duplicates, reordering, cuts, and crashes that lose uncommitted data. See seeds.ts for running a seed again.
 */
import t from 'tap';
import { ROUGH } from '../support/fault-plan.js';
import { mountOptions, roughEmbedded, roughGanesha, runRough } from './rough-mount.js';
import { seeds } from './seeds.js';

/** Seeds that have found something, with what it was. */
const FOUND = new Map([
  [114, 'rename: an echo where the directory had changed meanwhile'],
  [133, 'rename: an echo of a directory'],
  [247, 'a hole in front of lost data that read as the end of the file'],
  [139, 'a link count that went on counting a silly name'],
]);

for (const seed of seeds(20, [...FOUND.keys()])) {
  const options = mountOptions(seed);
  const ganesha = seed % 4 === 0;
  const name = `seed ${seed} on ${ganesha ? 'nfs-ganesha' : 'a server that crashes'} ${options.join(',')}`;
  t.test(`${name.trim()} ${FOUND.get(seed) ?? ''}`.trim(), { timeout: 120_000 }, async (t) => {
    const crashes = await runRough(t, {
      seed,
      server: ganesha ? roughGanesha : roughEmbedded,
      rates: ROUGH,
      operations: 150,
      // nfs-ganesha takes its time to start: its crashes have a test of their own.
      crashEvery: ganesha ? 0 : 100,
      options,
    });
    t.equal(crashes > 0, !ganesha);
  });
}
