/** Volumes of a docker engine of the test's own. */
import t from 'tap';
import { Ganesha } from '../support/ganesha.js';
import { untilEnd } from '../support/until-end.js';
import { EngineWithPlugin } from './engines/engine-with-plugin.js';
import { Docker } from './engines/root-engines.js';
import { deathsAroundVolumes } from './engines/volume-deaths.js';
import { endOfVolumes, lifeOfVolumes, manyVolumes } from './engines/volume-suite.js';
import { requireTools } from './tools.js';

t.test('volumes of docker', { timeout: 900_000 }, async (t) => {
  requireTools('dockerd', 'runc', 'busybox');
  const engine = await EngineWithPlugin.start(untilEnd(t, await Docker.start()));
  const server = untilEnd(t, await Ganesha.start());
  await lifeOfVolumes(t, engine, server);
  await deathsAroundVolumes(t, engine, server);
  await manyVolumes(t, engine, server);
  await endOfVolumes(t, engine, server);
});
