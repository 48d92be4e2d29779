/** The range matrix (support/steps.ts) on two mounts of the embedded server. */
import t from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { openPlace } from '../support/places.js';
import { untilEnd } from '../support/until-end.js';
import { answersAsLocal } from './support/suite.js';

t.test(
  'locks on two mounts of the embedded server are those of one machine',
  { timeout: 600_000 },
  async (t) => {
    const place = untilEnd(t, await openPlace('root'));
    await answersAsLocal(t, 'embedded', untilEnd(t, await ServeCommand.start(place)));
  },
);
