/** Which command lines the serving copy of a mount reads alone. */
import t from 'tap';
import { isPlainCommandLine } from '../../lib/cli/start/plain-mount.js';
import { mustRun } from '../support/process.js';
import { product } from './support/product.js';

const PLAIN = ['mount', 'server:/export', '/mnt'];

t.test('a mount with options of the mount itself is plain', async (t) => {
  for (const more of [
    [],
    ['-o', 'ro,port=2049'],
    ['-o', 'ro', '-o', 'soft', '--no-keep'],
    ['--idmap-uid', '0:1000:1', '--idmap-gid', '0:1000:1', '--groups', '4:5'],
  ])
    t.equal(isPlainCommandLine([...PLAIN, ...more], {}), true, more.join(' '));
});

t.test('a command line that concerns the command itself is not plain', async (t) => {
  for (const args of [
    [],
    ['stats', '/mnt'],
    ['mount'],
    ['mount', 'server:/export'],
    [...PLAIN, 'more'],
    ['server:/export', '/mnt'],
    ['mount', 'server:/export', '/dev/fd/9'],
    ['mount', 'server:/export', '/mnt/\ufffd'],
    ...[
      '-f',
      '-h',
      '--help',
      '--version',
      '--debug=rpc',
      '--log-file',
      '--state',
      '--',
      '-o',
      '-oro',
      '-x',
    ].map((option) => [...PLAIN, option]),
    ...['bg', 'remount,ro', 'ro,bg', 'debug', '-f'].map((options) => [...PLAIN, '-o', options]),
  ])
    t.equal(isPlainCommandLine(args, {}), false, args.join(' '));
});

t.test('a process with a part to play beside another one reads its command line itself', async (t) => {
  t.equal(isPlainCommandLine(PLAIN, { NFS_FUSE_BACKGROUND: 'background' }), false);
  t.equal(isPlainCommandLine(PLAIN, { NFS_FUSE_TAKE_OVER: 'fuse=3 state=4' }), false);
  const others = { NFS_FUSE_DEBUG: '1', NFS_FUSE_MOUNTPOINT: '/mnt', NFS_FUSE_STARTER: '3' };
  t.equal(isPlainCommandLine(PLAIN, others), true);
});

t.test('a mount holds no descriptor of the program that has started it', async (t) => {
  // The pipe would stay open as long as the mount: `cat` ends when nobody has it any more.
  const script = '{ "$@" 9>&- 40>&1 >/dev/null 2>&1; } | cat';
  await mustRun([
    'sh',
    '-c',
    script,
    'sh',
    ...product,
    'mount',
    '-o',
    'retry=0',
    'nowhere.invalid:/x',
    '/nowhere',
  ]);
  t.pass('the pipe has ended');
});
