/**
 * The consistency matrix (matrix/matrix.py) on Linux's own server, at once after the changes: two clients, nothing older
 * than Linux's own shows.
 */
import t from 'tap';
import { ALL, matrixOn } from './matrix/suite.js';

matrixOn(t, 'knfsd', ALL, ['at-once']);
