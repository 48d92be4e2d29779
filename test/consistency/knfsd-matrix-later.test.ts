/** As knfsd-matrix.test.ts, after the attributes' timeout. A file of its own, because a guest is slow. */
import t from 'tap';
import { ALL, matrixOn } from './matrix/suite.js';

matrixOn(t, 'knfsd', ALL, ['later']);
