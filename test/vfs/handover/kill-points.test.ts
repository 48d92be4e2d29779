/** Processes that serve a mount die at every point of their work, one after the other, and no program notices. */
import t from 'tap';
import { atTier } from '../../support/tier.js';
import { run } from './kill/run.js';

const DEATHS = atTier({ fast: 150, ci: 500, all: 1_000 });

t.test('programs see no difference, and nothing hangs, whenever the process dies', async (t) => {
  const first = Number(process.env.NFS_FUSE_KILL_SEED ?? 1);
  let deaths = 0;
  for (let seed = first; deaths < DEATHS; seed++)
    deaths += await run(seed).catch((error: unknown) => {
      throw new Error(`NFS_FUSE_KILL_SEED=${seed}: ${error}`, { cause: error });
    });
  t.ok(deaths >= DEATHS, `${deaths} processes have died`);
});
