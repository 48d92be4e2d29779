/** The product as one executable file (`npm run package`), on a machine without Node. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { publicFolder } from '../support/folders.js';
import { openPlace, type Place } from '../support/places.js';
import { mustRun, type Outcome, run } from '../support/process.js';
import { projectRoot } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';

const BUILD = [process.execPath, join(projectRoot, 'bin/single-file/build.mjs')];
const LONG = { timeout: 300_000 };

/** Runs $2 with the arguments from $3 on where no folder of PATH has Node any more. $1 is run before, as root. */
const WITHOUT_NODE = `
  mount --make-rprivate /
  IFS=:
  for folder in $PATH; do [ ! -e "$folder/node" ] || mount --bind /dev/null "$folder/node"; done
  unset IFS
  if node --version 2>/dev/null; then echo 'node is still there' >&2; exit 1; fi
  eval "$1"
  shift
  exec "$@"`;
const READ_ONLY = 'mount -o remount,bind,ro /';
/** Folders that can be written let no program run, and others cannot be written, but for /mnt. */
const NOTHING_RUNS = `
  for folder in / /tmp /var/tmp; do mount --bind "$folder" "$folder"; mount -o remount,bind,ro "$folder"; done
  for folder in /dev/shm /run; do mount -t tmpfs -o noexec none "$folder"; done
  mount -t tmpfs none /mnt`;

const folder = untilEnd(t, publicFolder());
const program = join(folder.path, 'nfs-fuse');
await mustRun([...BUILD, '--deb', '--out', program], { timeoutMs: 300_000 });

function withoutNode(before: string, place: Place, ...argv: readonly string[]): Promise<Outcome> {
  const command = ['unshare', '-m', 'sh', '-euc', WITHOUT_NODE, 'sh', before, ...place.command(argv)];
  return run(command, { timeoutMs: 120_000, cwd: '/' });
}

const said = ({ stdout, stderr }: Outcome): string => `${stdout}${stderr}`;

const place = untilEnd(t, await openPlace('root'));
const server = untilEnd(t, await ServeCommand.start(place));
const target = `${server.host}:${server.exportPath}`;

t.test('it mounts, outlives a death, changes hands and unmounts', LONG, async (t) => {
  const mountpoint = untilEnd(t, publicFolder()).path;
  const script = `
    program=$1 target=$2 at=$3 options=$4
    serving() { "$program" stats --json "$at" | sed -n 's/^  "pid": \\([0-9]*\\),$/\\1/p'; }
    "$program" mount -o "$options" "$target" "$at"
    echo content > "$at/file"
    exec 3< "$at/file"
    first=$(serving)
    cat "/proc/$first/comm"
    kill -9 "$first"
    cat <&3
    exec 3<&-
    "$program" restart "$at" 2>/dev/null
    [ "$(serving)" != "$first" ]
    "$program" check --mount "$at" | grep -o 'after a death and . times by nfs-fuse restart'
    "$program" umount "$at"
    ls -A "$at"`;
  const options = server.mountOptions.join(',');
  const outcome = await withoutNode(
    READ_ONLY,
    place,
    ...['sh', '-euc', script, 'sh', program, target, mountpoint, options],
  );
  t.equal(said(outcome), 'nfs-fuse\ncontent\nafter a death and 1 times by nfs-fuse restart\n');
  t.equal(outcome.status, 0);
  t.equal(readFileSync(join(server.directory, 'file'), 'utf8'), 'content\n');
});

t.test('an ordinary user runs a command on a mount', LONG, async (t) => {
  const user = untilEnd(t, await openPlace('user'));
  const own = untilEnd(t, await ServeCommand.start(user));
  const mountpoint = join(user.folder, 'single-file');
  await mustRun(user.command(['mkdir', mountpoint]));
  const exec = ['exec', '-o', own.mountOptions.join(','), `${own.host}:${own.exportPath}`, mountpoint, '--'];
  const command = ['sh', '-c', 'echo by exec > file; cat file'];
  const outcome = await withoutNode(
    READ_ONLY,
    user,
    ...['env', '-C', '/', program, ...exec, 'sh', '-c', `cd ${mountpoint} && "$@"`, 'sh', ...command],
  );
  t.equal(said(outcome), 'by exec\n');
  t.equal(outcome.status, 0);
  t.equal(readFileSync(join(own.directory, 'file'), 'utf8'), 'by exec\n');
});

t.test('check finds all that it needs', LONG, async (t) => {
  const options = server.mountOptions.join(',');
  const outcome = await withoutNode(READ_ONLY, place, program, 'check', '-o', options, target);
  t.match(said(outcome), /ok +packages +all packages are part of this program/);
  t.match(said(outcome), /ok +mount\S* +/);
  t.equal(outcome.status, 0, said(outcome));
});

t.test('it says so where no folder lets its library run, and one such folder is enough', LONG, async (t) => {
  const stats = [program, 'stats', '/proc'];
  const refused = await withoutNode(NOTHING_RUNS, place, ...stats);
  t.match(
    said(refused),
    /no folder lets .* \(.*\/dev\/shm: failed to map .*\/var\/tmp: EROFS.*one is enough/s,
    'and it leaves nothing there',
  );
});

t.test('its version is the package’s', async (t) => {
  const { version } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as {
    readonly version: string;
  };
  t.equal(await mustRun([program, '--version']), `${version}\n`);
});

t.test('a program without the main part of Node makes no file', async (t) => {
  const out = join(folder.path, 'other');
  const outcome = await run([...BUILD, '--node', '/bin/false', '--out', out], { timeoutMs: 120_000 });
  t.match(
    outcome.stderr,
    /^npm run package: \/bin\/false is not the whole of Node: .*libnode\.so.*--node FILE\.\n$/,
  );
  t.equal(outcome.status, 1);
  t.notOk(existsSync(out));
});

t.test('the Debian package holds it, and says what it needs', LONG, async (t) => {
  const [deb = ''] = readdirSync(folder.path).filter((name) => name.endsWith('.deb'));
  const path = join(folder.path, deb);
  const fields = await mustRun(['dpkg-deb', '--field', path, 'Package', 'Version', 'Depends']);
  t.match(fields, /^Package: nfs-fuse\nVersion: \d.*\nDepends: libc6 .*libstdc\+\+6\n$/);
  const root = untilEnd(t, publicFolder()).path;
  await mustRun(['dpkg-deb', '-x', path, root], { timeoutMs: 120_000 });
  t.ok(readFileSync(join(root, 'usr/bin/nfs-fuse')).equals(readFileSync(program)), 'the same file');
  const { mode, uid } = statSync(join(root, 'usr/bin/nfs-fuse'));
  t.same({ mode: mode & 0o7777, uid }, { mode: 0o755, uid: 0 });
  const docs = join(root, 'usr/share/doc/nfs-fuse');
  t.match(readFileSync(join(docs, 'copyright'), 'utf8'), /MIT/);
  t.ok(existsSync(join(docs, 'deploy/helm/nfs-fuse/Chart.yaml')), 'the pages speak of it');
  const pages = join(root, 'usr/share/man/man8');
  for (const name of ['nfs-fuse', 'mount.fuse.nfs-fuse'])
    t.match(gunzipSync(readFileSync(join(pages, `${name}.8.gz`))).toString(), /^\.TH NFS-FUSE 8 /m, name);
});
