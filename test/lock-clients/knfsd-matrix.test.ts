/** The range matrix (support/steps.ts) on two mounts of Linux's own server, whose lock manager they find by its portmapper. */
import t from 'tap';
import { Knfsd } from '../support/guest/knfsd.js';
import { untilEnd } from '../support/until-end.js';
import { answersAsLocal } from './support/suite.js';

t.test(
  'locks on two mounts of Linux’s own server are those of one machine',
  { timeout: 900_000 },
  async (t) => {
    await answersAsLocal(t, 'knfsd', untilEnd(t, await Knfsd.start()));
  },
);
