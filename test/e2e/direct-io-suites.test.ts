/** Around the page cache (-o direct_io) files are the same files: the suites once more. */
process.env.NFS_FUSE_TEST_OPTIONS = 'direct_io';
process.env.NFS_FUSE_TEST_VARIANTS ??= 'ganesha/root,embedded/userns';

await import('./files.test.js');
await import('./attributes.test.js');
await import('./large-file.test.js');
