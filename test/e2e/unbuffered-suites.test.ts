/** Nothing that programs may rely on hangs on read-ahead or write-behind: the suites once more, without both. */
process.env.NFS_FUSE_TEST_OPTIONS = 'readahead=0,writebehind=0';
process.env.NFS_FUSE_TEST_VARIANTS ??= 'ganesha/root,embedded/userns';

await import('./files.test.js');
await import('./objects.test.js');
await import('./attributes.test.js');
await import('./large-file.test.js');
