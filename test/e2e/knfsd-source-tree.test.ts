/** A source tree on Linux's own server; see knfsd-suites.test.ts. */
process.env.NFS_FUSE_TEST_VARIANTS ??= 'knfsd/root';

await import('./source-tree.test.js');
