/** Consistency with names made directly at any distance of the server; see test/e2e/direct-create-suites.test.ts. */
import t from 'tap';
import { ALL, matrixOn } from './matrix/suite.js';

const OPTIONS = ['directcreate'];
for (const server of ['ganesha', 'embedded'] as const) matrixOn(t, server, ALL, undefined, OPTIONS);

process.env.NFS_FUSE_TEST_OPTIONS = OPTIONS.join(',');
await import('./close-to-open.test.js');
await import('./silly-rename.test.js');
await import('./changes-seen.test.js');
await import('./second-client.test.js');
await import('../model/durability.test.js');
