/** A counter and an sqlite database that programs on two clients change under locks, on Linux's own server. */
import t from 'tap';
import { Knfsd } from '../support/guest/knfsd.js';
import { untilEnd } from '../support/until-end.js';
import { countTogether, SHARED_DATA_TIMEOUT_MS, writeDatabaseTogether } from './support/shared-data.js';
import { mountTwice } from './support/suite.js';

const server = untilEnd(t, await Knfsd.start());
const mounts = await mountTwice(t, server);

t.test('a counter loses no addition', { timeout: SHARED_DATA_TIMEOUT_MS }, (t) =>
  countTogether(t, mounts, server.directory),
);

t.test('an sqlite database loses no row', { timeout: SHARED_DATA_TIMEOUT_MS }, (t) =>
  writeDatabaseTogether(t, mounts, server.directory),
);
