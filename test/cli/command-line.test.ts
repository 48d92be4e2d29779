/** The command line itself: help, versions, and messages about wrong arguments. */
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { publicFolder } from '../support/folders.js';
import { run } from '../support/process.js';
import { projectRoot } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';
import { nfsFuse, product, STACK_TRACE, said } from './support/product.js';

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

t.test('the program file is executable, as npm links it', async (t) => {
  const [, file = ''] = product;
  t.match(await run([file, '--version']), { status: 0 });
});

t.test('the program without arguments shows the help, and fails', async (t) => {
  const { status, stdout } = await nfsFuse([]);
  t.equal(status, 1);
  t.match(stdout, /Usage: nfs-fuse mount/);
});

t.test('a completion script names the program', async (t) => {
  const { status, stdout } = await nfsFuse(['completion']);
  t.equal(status, 0);
  t.match(stdout, /nfs-fuse/);
});

t.test('the program refuses arguments that are not UTF-8', async (t) => {
  const scratch = untilEnd(t, publicFolder());
  const folder = Buffer.concat([Buffer.from(`${scratch.path}/caf`), Buffer.of(0xe9)]);
  mkdirSync(folder);
  mkdirSync(Buffer.concat([folder, Buffer.from('/sub')]));
  symlinkSync(folder, join(scratch.path, 'link'));
  const port = 'port=1,mountport=1';
  const rename =
    /"[^"]*caf\ufffd(\/sub)?" is not valid UTF-8\.\n +Mount points, folders and log files .* rename it/;
  // Only a shell can pass such bytes. $0 is the folder, "$@" is nfs-fuse.
  const cases: [script: string, status: number, message: RegExp][] = [
    ['"$@" check --mount "$0"', 1, rename],
    [`"$@" mount -o ${port} 127.0.0.1:/x "$0"`, 1, rename],
    [`"$@" mount -o ${port} 127.0.0.1:/x ${scratch.path}/link`, 1, rename],
    [`"$@" mount -o ${port} 127.0.0.1:/x ${scratch.path} --log-file="$0/log"`, 1, /log" is not valid UTF-8/],
    [`cd "$0" && "$@" mount -o ${port} 127.0.0.1:/x sub`, 1, rename],
    [`cd "$0" && "$@" exec -o ${port} 127.0.0.1:/x sub -- true`, 125, rename],
    ['"$@" stats "$0"', 1, rename],
    ['"$@" serve "$0"', 1, rename],
    ['"$@" umount "$0"', 1, /caf\ufffd" is not valid UTF-8\.\n +umount\(8\) and fusermount3 -u take such/],
    ['"$@" mount "127.0.0.1:$0" /', 1, /caf\ufffd" is not valid UTF-8\.\n +Write nfs:\/\/server/],
    [
      `"$@" exec -o ${port} 127.0.0.1:/x ${scratch.path} -- ls "$0"`,
      125,
      /caf\ufffd" is not valid UTF-8\.\n +nfs-fuse exec cannot pass it on: put the command into a script/,
    ],
    // U+FFFD itself is allowed like any other character.
    [`"$@" umount ${scratch.path}/\ufffd`, 1, /\/\ufffd is not a mount point/],
  ];
  for (const [script, status, message] of cases) {
    const outer = `exec sh -c "$0" "$(printf '${scratch.path}/caf\\351')" "$@"`;
    const outcome = said(await run(['sh', '-c', outer, script, ...product]));
    t.equal(outcome.status, status, script);
    t.match(outcome.stderr, message, script);
    t.notMatch(outcome.stderr, STACK_TRACE);
  }
});

t.test('the program answers wrong arguments with one message and a remedy', async (t) => {
  const cases: [args: string[], message: RegExp][] = [
    [['montu', 'a:/b', '/c'], /There is no command "montu"\.\n.*Did you mean "mount"\?/],
    [['frobnicate'], /There is no command "frobnicate"\.\n.*The commands are mount, umount/],
    [['mount'], /Something is missing: 0 of the 2 arguments are there\.\n.*nfs-fuse mount --help/],
    [['mount', 'a:/b'], /Something is missing: 1 of the 2/],
    [['a:/b'], /Something is missing: 1 of the 2/],
    [['mount', 'a:/b', '/c', '/d'], /Unknown argument: \/d/],
    [['mount', 'a:/b', '/c', '--bogus'], /Unknown argument: bogus/],
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

t.test('the program names an option without its value', async (t) => {
  const cases: [args: string[], option: string][] = [
    [['mount', 'a:/b', '/c', '-o'], '-o'],
    [['a:/b', '/c', '-o'], '-o'],
    [['mount', '-o', '-f', 'a:/b', '/c'], '-o'],
    [['mount', 'a:/b', '/c', '--transport'], '--transport'],
    [['mount', 'a:/b', '/c', '--idmap-uid'], '--idmap-uid'],
    [['exec', 'a:/b', '/c', '--log-file', '--', 'true'], '--log-file'],
    [['check', '--options'], '--options'],
    [['check', '--mount'], '--mount'],
    [['check', '--timeout'], '--timeout'],
    [['sweep', 'a:/b', '--older-than'], '--older-than'],
    [['serve', '/', '--port'], '--port'],
  ];
  for (const [args, option] of cases) {
    const [first = ''] = args;
    const command = first === 'a:/b' ? 'nfs-fuse' : `nfs-fuse ${first}`;
    const message = `nfs-fuse: ${option} needs a value.\n          ${command} --help says what is expected.\n`;
    t.same(await nfsFuse(args), { status: 1, stdout: '', stderr: message }, args.join(' '));
  }
});

t.test('NFS_FUSE_DEBUG shows where a failure comes from', async (t) => {
  const { stderr } = await nfsFuse(['mount', '-o', 'port=x', 'a:/b', '/c'], {
    env: { ...process.env, NFS_FUSE_DEBUG: '1' },
  });
  t.match(stderr, /^nfs-fuse: port=x is not a number/);
  t.match(stderr, /^\s+at /m);
});
