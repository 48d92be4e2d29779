/**
 * The workload on servers whose clock or whose replies do not tell which of two states is the later one. Nothing is
 * lost, and nothing old is shown. See seeds.ts for running a seed again.
 */
import t from 'tap';
import type { EmbeddedServer } from '../../lib/server/index.js';
import * as odd from '../support/odd-attributes.js';
import { mountOptions, oddEmbedded, runRough } from './rough-mount.js';
import { seeds } from './seeds.js';

/** The only fault of the network: replies overtake each other. */
const RATES = { delay: 100, reorder: 100 };

const HABITS: readonly (readonly [string, (server: EmbeddedServer) => void])[] = [
  ['changes rounded down', odd.roundsChanges],
  ['nothing of before', odd.saysNothingOfBefore],
  ['whole seconds', odd.hasWholeSeconds],
  ['a clock that steps back again and again', (server) => odd.stepsBack(server, 10, 60)],
];

for (const seed of seeds(4)) {
  const [what, misbehave] = HABITS[seed % HABITS.length] ?? ['', () => {}];
  const options = mountOptions(seed);
  t.test(`seed ${seed} ${options.join(',')} ${what}`.replace(/ +/g, ' '), { timeout: 300_000 }, async (t) => {
    const server = () => oddEmbedded(misbehave);
    await runRough(t, { seed, server, rates: RATES, operations: 100, crashEvery: 0, options });
    t.pass('no difference');
  });
}
