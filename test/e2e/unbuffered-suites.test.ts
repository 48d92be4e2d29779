/** The suites once more without read-ahead and write-behind: programs see the same results. */
process.env.NFS_FUSE_TEST_OPTIONS = 'readahead=0,writebehind=0';
process.env.NFS_FUSE_TEST_VARIANTS ??= 'ganesha/root,embedded/userns';

await import('./files.test.js');
await import('./objects.test.js');
await import('./attributes.test.js');
await import('./large-file.test.js');
