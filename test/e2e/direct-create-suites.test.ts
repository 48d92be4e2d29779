/** The suites with names made directly at any distance of the server: by default a near one is asked for each name first. */
process.env.NFS_FUSE_TEST_OPTIONS = 'directcreate';
process.env.NFS_FUSE_TEST_VARIANTS ??= 'ganesha/root,embedded/root';

await import('./usual-suites.js');
