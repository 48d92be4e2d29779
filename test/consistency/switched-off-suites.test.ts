/** Consistency with all that is ahead of programs, or behind them, switched off; see switched-off.test.ts. */
import t from 'tap';
import { SWITCHED_OFF } from '../support/switched-off.js';
import { ALL, matrixOn } from './matrix/suite.js';

for (const server of ['ganesha', 'embedded'] as const) matrixOn(t, server, ALL, undefined, SWITCHED_OFF);

process.env.NFS_FUSE_TEST_OPTIONS = SWITCHED_OFF.join(',');
await import('./close-to-open.test.js');
await import('./silly-rename.test.js');
await import('./changes-seen.test.js');
await import('./second-client.test.js');
await import('../model/durability.test.js');
