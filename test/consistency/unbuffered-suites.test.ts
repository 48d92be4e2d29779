/** Consistency and durability without read-ahead and write-behind; see test/e2e/unbuffered-suites.test.ts. */
process.env.NFS_FUSE_TEST_OPTIONS = 'readahead=0,writebehind=0';

await import('./close-to-open.test.js');
await import('./silly-rename.test.js');
await import('./changes-seen.test.js');
await import('../model/durability.test.js');
