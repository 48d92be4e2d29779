/** Data and names over UDP, with mountd and rpcbind over UDP too, on Linux's own server; see knfsd-suites.test.ts. */
process.env.NFS_FUSE_TEST_OPTIONS = 'proto=udp';
process.env.NFS_FUSE_TEST_VARIANTS ??= 'knfsd/root';

await import('./files.test.js');
await import('./names.test.js');
await import('./objects.test.js');
