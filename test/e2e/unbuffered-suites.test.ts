/** Nothing that programs may rely on hangs on read-ahead or write-behind: the suites once more, without both. */
process.env.NFS_FUSE_TEST_OPTIONS = 'readahead=0,writebehind=0';
process.env.NFS_FUSE_TEST_VARIANTS ??= 'ganesha/root,embedded/userns';

await import('./files.test.js');
await import('./objects.test.js');
await import('./attributes.test.js');
await import('./large-file.test.js');
await import('./fuse-hazards.test.js');
await import('./source-tree.test.js');
await import('../consistency/close-to-open.test.js');
await import('../consistency/changes-seen.test.js');
await import('../consistency/silly-rename.test.js');
await import('../consistency/estale-objects.test.js');
await import('../model/durability.test.js');
