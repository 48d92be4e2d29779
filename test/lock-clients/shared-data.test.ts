/** Programs on two clients change a counter and an sqlite database under locks, and nothing is lost. */
import t from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { Ganesha } from '../support/ganesha.js';
import { openPlace } from '../support/places.js';
import { untilEnd } from '../support/until-end.js';
import { countTogether, SHARED_DATA_TIMEOUT_MS, writeDatabaseTogether } from './support/shared-data.js';
import { mountTwice } from './support/suite.js';

const STARTERS = {
  ganesha: () => Ganesha.start({ locks: true }),
  embedded: async () => ServeCommand.start(untilEnd(t, await openPlace('root'))),
};

for (const [name, start] of Object.entries(STARTERS)) {
  t.test(`${name}: a counter and a database`, { timeout: SHARED_DATA_TIMEOUT_MS }, async (t) => {
    const server = untilEnd(t, await start());
    const mounts = await mountTwice(t, server);
    await t.test('a counter loses no addition', (t) => countTogether(t, mounts, server.directory));
    await t.test('an sqlite database loses no row', (t) =>
      writeDatabaseTogether(t, mounts, server.directory),
    );
  });
}
