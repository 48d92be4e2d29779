/** The command line itself: help, versions, and what is said about arguments that make no sense. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { run } from '../support/process.js';
import { projectRoot } from '../support/project.js';
import { nfsFuse, product, STACK_TRACE } from './product.js';

t.test('--help lists the commands, and each command explains itself', async (t) => {
  const help = await nfsFuse(['--help']);
  t.equal(help.status, 0);
  for (const command of ['mount', 'umount', 'exports', 'serve', 'demo']) {
    t.match(help.stdout, new RegExp(`^ *nfs-fuse ${command}\\b`, 'm'));
    const own = await nfsFuse([command, '--help']);
    t.equal(own.status, 0, command);
    t.match(own.stdout, new RegExp(`^nfs-fuse ${command}`, 'm'));
    t.equal(own.stderr, '');
  }
});

t.test('--version is that of package.json', async (t) => {
  const { version } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as {
    version: string;
  };
  t.match(await nfsFuse(['--version']), { status: 0, stdout: `${version}\n` });
});

t.test('the program can be executed by itself, as npm links it', async (t) => {
  const [, file = ''] = product;
  t.match(await run([file, '--version']), { status: 0 });
});

t.test('without arguments it shows the help, and fails', async (t) => {
  const { status, stdout } = await nfsFuse([]);
  t.equal(status, 1);
  t.match(stdout, /Usage: nfs-fuse mount/);
});

t.test('a completion script names the program', async (t) => {
  const { status, stdout } = await nfsFuse(['completion']);
  t.equal(status, 0);
  t.match(stdout, /nfs-fuse/);
});

t.test('wrong arguments are answered with one message and the way out', async (t) => {
  const cases: [args: string[], message: RegExp][] = [
    [['montu', 'a:/b', '/c'], /There is no command "montu"\.\n.*Did you mean "mount"\?/],
    [['frobnicate'], /There is no command "frobnicate"\.\n.*The commands are mount, umount/],
    [['mount'], /Something is missing: 0 of the 2 arguments are there\.\n.*nfs-fuse mount --help/],
    [['mount', 'a:/b'], /Something is missing: 1 of the 2/],
    [['a:/b'], /Something is missing: 1 of the 2/],
    [['mount', 'a:/b', '/c', '/d'], /Unknown argument: \/d/],
    [['mount', 'a:/b', '/c', '--bogus'], /Unknown argument: bogus/],
    [['mount', 'a:/b', '/c', '-o'], /o/],
    [['mount', '-o', 'vers=4', 'a:/b', '/c'], /vers=4: nfs-fuse speaks only NFSv3\.\n.*vers=3/],
    [['a:/b', '/c', '-o', 'rszie=1'], /"rszie" is unknown\.\n.*Did you mean "rsize"\?/],
    [['mount', '-oro,rszie=1', 'a:/b', '/c'], /"rszie" is unknown/],
    [['mount', '/b', '/c'], /"\/b" has no ":" between the server and the exported path\.\n.*server:\/export/],
    [['mount', '--debug=disk', 'a:/b', '/c'], /--debug=disk is not one of fuse, rpc/],
    [
      ['mount', '--log-file', '/nonexistent/log', 'a:/b', '/c'],
      /log file \/nonexistent\/log cannot be opened/,
    ],
    [['umount'], /Something is missing/],
    [['umount', '/'], /\/ is mounted, but not by nfs-fuse/],
    [['umount', '/nonexistent/mnt'], /\/nonexistent\/mnt is not a mount point/],
    [['umount', '--lazy', '--force', '/'], /mutually exclusive/],
    [['exports'], /Something is missing/],
    [['exports', '-o', 'bogus', 'a'], /"bogus" is unknown/],
    [['serve'], /Something is missing/],
    [['serve', '/nonexistent/folder'], /\/nonexistent\/folder/],
    [['serve', '/etc/passwd'], /not a directory/],
    [['serve', '/tmp', '--port', 'x'], /x/],
  ];
  for (const [args, message] of cases) {
    const { status, stdout, stderr } = await nfsFuse(args);
    const what = args.join(' ');
    t.equal(status, 1, what);
    t.match(stderr, /^nfs-fuse: /, what);
    t.match(stderr, message, what);
    t.notMatch(stderr, STACK_TRACE, what);
    t.equal(stdout, '', what);
  }
});

t.test('NFS_FUSE_DEBUG shows where a failure comes from', async (t) => {
  const { stderr } = await nfsFuse(['mount', '-o', 'port=x', 'a:/b', '/c'], {
    env: { ...process.env, NFS_FUSE_DEBUG: '1' },
  });
  t.match(stderr, /^nfs-fuse: port=x is not a number/);
  t.match(stderr, /^\s+at /m);
});
