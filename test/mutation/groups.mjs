/**
 * Which source files are mutated together, and the tests that have to notice. Every file of lib/vfs and lib/rpc is in
 * one group (test/setup/mutation.test.ts). Tests stand in the order in which they are tried: the nearest ones first.
 */

const vfs = (...names) => names.map((name) => `test/vfs/${name}.test.ts`);
const rpc = (...names) => names.map((name) => `test/rpc/${name}.test.ts`);

/** name of the group → sources (files, or folders that end with "/") and tests */
export const GROUPS = {
  caches: {
    sources: ['lib/vfs/cache/'],
    tests: vfs(
      'own-changes',
      'attribute-cache',
      'attribute-doubts',
      'inode',
      'inode-table',
      'dentry-cache',
      'open-objects',
      'server-clock',
      'lookup',
      'late-attributes',
      'setattr-guard',
      'lookup-storms',
      'make',
      'remove',
      'kernel-view',
      'open',
    ),
  },
  redrive: {
    sources: ['lib/vfs/remote/redrive.ts', 'lib/vfs/remote/exchange.ts', 'lib/vfs/remote/replay.ts'],
    tests: vfs('redrive-rules', 'redrive', 'exchange', 'replay', 'no-headway', 'make', 'remove'),
  },
  'write-path': {
    sources: [
      'lib/vfs/data/creation.ts',
      'lib/vfs/data/extent.ts',
      'lib/vfs/data/extent-map.ts',
      'lib/vfs/data/gathering.ts',
      'lib/vfs/data/slots.ts',
      'lib/vfs/data/unstable-data.ts',
      'lib/vfs/data/write-behind.ts',
      'lib/vfs/data/write-calls.ts',
      'lib/vfs/data/writing.ts',
    ],
    tests: vfs(
      'extent',
      'extent-map',
      'unstable-data',
      'gathering',
      'creation',
      'writing',
      'writer',
      'write-behind',
      'direct-writes',
      'no-headway',
      'setattr-guard',
    ),
  },
  'read-path': {
    sources: [
      'lib/vfs/data/buffer-pool.ts',
      'lib/vfs/data/byte-budget.ts',
      'lib/vfs/data/files.ts',
      'lib/vfs/data/open-file.ts',
      'lib/vfs/data/read-ahead.ts',
      'lib/vfs/data/transfer-memory.ts',
    ],
    tests: vfs('read-ahead', 'buffer-pool', 'inode-table', 'open', 'direct-writes', 'write-behind'),
  },
  callers: {
    sources: ['lib/vfs/caller/'],
    tests: vfs('caller', 'caller-groups', 'identity', 'exiting-callers', 'filesystem'),
  },
  kernel: {
    sources: ['lib/vfs/kernel/'],
    tests: vfs('kernel-view', 'memory-return', 'late-attributes', 'caller', 'identity', 'lookup', 'open'),
  },
  names: {
    sources: ['lib/vfs/names/'],
    tests: vfs('lookup', 'name-limit', 'make', 'remove', 'redrive'),
  },
  directories: {
    sources: ['lib/vfs/directories/'],
    tests: vfs('listing', 'given-names', 'lookup-storms', 'directories'),
  },
  client: {
    sources: [
      'lib/vfs/access/',
      'lib/vfs/attributes/',
      'lib/vfs/remote/export-session.ts',
      'lib/vfs/remote/nfs-client.ts',
      'lib/vfs/remote/patience.ts',
      'lib/vfs/remote/status-errno.ts',
      'lib/vfs/config.ts',
      'lib/vfs/counters.ts',
      'lib/vfs/filesystem.ts',
      'lib/vfs/object-requests.ts',
      'lib/vfs/open-export.ts',
      'lib/vfs/open-flags.ts',
      'lib/vfs/vfs-state.ts',
    ],
    tests: vfs('filesystem', 'caller', 'no-headway', 'late-attributes', 'setattr-guard', 'open', 'make'),
  },
  'rpc-messages': {
    sources: ['lib/rpc/auth/', 'lib/rpc/wire/', 'lib/rpc/index.ts', 'lib/rpc/rpc-errors.ts'],
    tests: rpc('message', 'record-mark', 'record-pool', 'fuzz-codecs', 'flavor', 'client', 'replies'),
  },
  'rpc-transport': {
    sources: ['lib/rpc/transport/'],
    tests: rpc(
      'client',
      'replies',
      'cancellation',
      'udp',
      'reset-socket',
      'resvport',
      'reconnect',
      'nonsense',
    ),
  },
  'rpc-client': {
    sources: ['lib/rpc/client/'],
    tests: rpc(
      'call-queue',
      'client',
      'replies',
      'cancellation',
      'before-ready',
      'service',
      'udp',
      'flavor',
      'reconnect',
      'nonsense',
    ),
  },
  'rpc-server': {
    sources: ['lib/rpc/server/'],
    tests: rpc('server', 'duplicate-requests', 'server-garbage', 'connection-limits', 'flavor'),
  },
};
