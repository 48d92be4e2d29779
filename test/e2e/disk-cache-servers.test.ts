/** The cache on the local disk (fsc) with servers of different kinds. Linux's own: knfsd-disk-cache.test.ts. */
import t from 'tap';
import { remounts } from '../support/cached-scene.js';

remounts(t, 'embedded');
remounts(t, 'ganesha');
