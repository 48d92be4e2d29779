/** The suites on Linux's own server, in a guest (test/support/guest). */
process.env.NFS_FUSE_TEST_VARIANTS ??= 'knfsd/root';

await import('./files.test.js');
await import('./objects.test.js');
await import('./directories.test.js');
await import('./names.test.js');
await import('./attributes.test.js');
await import('./users.test.js');
await import('./large-file.test.js');
