/** A source tree without read-ahead and write-behind; see unbuffered-suites.test.ts. */
process.env.NFS_FUSE_TEST_OPTIONS = 'readahead=0,writebehind=0';
process.env.NFS_FUSE_TEST_VARIANTS ??= 'ganesha/root';

await import('./source-tree.test.js');
