/** The suites once more with -o direct_io: files behave the same without the page cache. */
process.env.NFS_FUSE_TEST_OPTIONS = 'direct_io';
process.env.NFS_FUSE_TEST_VARIANTS ??= 'ganesha/root,embedded/userns';

await import('./files.test.js');
await import('./attributes.test.js');
await import('./large-file.test.js');
