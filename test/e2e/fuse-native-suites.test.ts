/**
 * The suites of the other transport over fuse-native: each operation behaves alike. They leave out attributes.test.ts,
 * which needs nanoseconds and single times (README lists what fuse-native cannot do).
 */
process.env.NFS_FUSE_TEST_TRANSPORT = 'fuse-native';
process.env.NFS_FUSE_TEST_VARIANTS ??= 'ganesha/root,embedded/user';

await import('./files.test.js');
await import('./names.test.js');
await import('./objects.test.js');
await import('./directories.test.js');
