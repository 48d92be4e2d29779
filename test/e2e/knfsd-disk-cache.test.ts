/** The cache on the local disk (fsc) with Linux's own server, in a guest. */
import t from 'tap';
import { remounts } from '../support/cached-scene.js';

remounts(t, 'knfsd');
