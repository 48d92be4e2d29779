/** A sample of the consistency matrix (matrix/matrix.py): two clients, nothing older than Linux's own client shows. */
import t from 'tap';
import { matrixOn, SAMPLE } from './matrix/suite.js';

for (const server of ['ganesha', 'embedded'] as const) matrixOn(t, server, SAMPLE);
