/** The range matrix (support/steps.ts) on two mounts of nfs-ganesha. */
import t from 'tap';
import { Ganesha } from '../support/ganesha.js';
import { untilEnd } from '../support/until-end.js';
import { answersAsLocal } from './support/suite.js';

t.test('locks on two mounts of nfs-ganesha are those of one machine', { timeout: 600_000 }, async (t) => {
  await answersAsLocal(t, 'ganesha', untilEnd(t, await Ganesha.start({ locks: true })));
});
