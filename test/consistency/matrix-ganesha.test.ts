/** The consistency matrix (matrix/matrix.py) on nfs-ganesha: two clients, nothing older than Linux's own shows. */
import t from 'tap';
import { ALL, matrixOn } from './matrix/suite.js';

matrixOn(t, 'ganesha', ALL);
