/**
 * mount(8) and fstab: mount.fuse3 of the package fuse3 calls us with what they add to the options. Everything runs in
 * mount and process namespaces of its own, where `nfs-fuse` is installed as npm installs it.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { selinuxEnabled } from '../../lib/fuse/mount/security-labels.js';
import { EmbeddedServer } from '../../lib/server/index.js';
import { publicFolder } from '../support/folders.js';
import { WITHOUT_FUSE } from '../support/places.js';
import { run } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { product, type Said, STACK_TRACE, said } from './support/product.js';

/**
 * mount(8) looks for programs in its own list of folders only. A mount that is left when the script ends is gone with
 * the namespaces, its process too. `mounts` shows what is: path, type, source and options of each.
 */
const PREPARE = `
  # Copies of mounts of other tests, which would keep those from ending.
  ${WITHOUT_FUSE} || :
  mount -t tmpfs none /usr/local/sbin
  ln -s "$NODE" /usr/local/sbin/node
  ln -s "$PRODUCT" /usr/local/sbin/nfs-fuse
  mounts() { findmnt --noheadings --raw --types fuse.nfs-fuse --output TARGET,FSTYPE,SOURCE,OPTIONS; }
  set -e`;

interface Ground {
  readonly folder: string;
  readonly served: string;
  readonly port: number;
  /** An existing folder to mount on. */
  readonly mnt: string;
  /** Writes an fstab; the result is its path. */
  fstab(...lines: string[]): string;
  /** Runs a shell script in the namespaces; $MNT, $PORTS and $TARGET are set. */
  shell(script: string): Promise<Said>;
}

async function ground(t: Test): Promise<Ground> {
  const scratch = untilEnd(t, publicFolder());
  const folder = scratch.path;
  const served = join(folder, 'served');
  const mnt = join(folder, 'mnt');
  for (const path of [served, mnt]) mkdirSync(path);
  const server = untilEnd(t, await EmbeddedServer.start({ path: served }));
  const { port } = server;
  const [NODE = '', PRODUCT = ''] = product;
  const variables = {
    NODE,
    PRODUCT,
    MNT: mnt,
    PORTS: `port=${port},mountport=${port},nolock`,
    TARGET: '127.0.0.1:/export',
  };
  return {
    folder,
    served,
    port,
    mnt,
    fstab(...lines) {
      const path = join(folder, 'fstab');
      writeFileSync(path, `${lines.join('\n')}\n`);
      return path;
    },
    async shell(script) {
      const namespaces = ['unshare', '-m', '-p', '--fork', '--kill-child', '--mount-proc'];
      const argv = [...namespaces, 'sh', '-c', `${PREPARE}\n${script}`];
      return said(await run(argv, { env: { ...process.env, ...variables } }));
    },
  };
}

function succeeds(t: Test, outcome: Said): string[] {
  t.equal(outcome.status, 0, outcome.stderr);
  t.equal(outcome.stderr, '', 'nothing is complained of');
  return outcome.stdout.trimEnd().split('\n');
}

t.test('mount -t fuse.nfs-fuse mounts, umount unmounts', async (t) => {
  const { mnt, shell } = await ground(t);
  const outcome = await shell(`
    mount -t fuse.nfs-fuse "$TARGET" "$MNT" -o "$PORTS"
    mounts
    echo content > "$MNT/file" && cat "$MNT/file"
    umount "$MNT"
    mounts || ls -A "$MNT"`);
  const [mounted, content, ...more] = succeeds(t, outcome);
  t.match(mounted, `${mnt} fuse.nfs-fuse 127.0.0.1:/export rw,nosuid,nodev`);
  t.equal(content, 'content');
  t.same(more, []);
});

t.test('options for mount(8) and fstab are accepted without a message', async (t) => {
  const { shell } = await ground(t);
  const generic = 'rw,exec,async,auto,nouser,relatime,diratime,_netdev,nofail,comment=x';
  const forOthers = 'x-systemd.automount,x-systemd.mount-timeout=30,X-mount.mkdir,x-gvfs-hide';
  const outcome = await shell(`
    mount -t fuse.nfs-fuse "$TARGET" "$MNT" -o "$PORTS,${generic},${forOthers}"
    mounts
    echo content > "$MNT/file"
    umount "$MNT"
    mount -n -t fuse.nfs-fuse -o "$PORTS,noatime,noexec,user" "$TARGET" "$MNT"
    mounts
    umount "$MNT"`);
  const [first = '', second = ''] = succeeds(t, outcome);
  t.match(first, / rw,nosuid,nodev,/, 'dev and suid of mount.fuse3 are not granted');
  t.match(second, / rw,nosuid,nodev,noexec,noatime,/);
});

t.test(
  'mount(8) does not hand labels of SELinux over where the kernel has none',
  { skip: selinuxEnabled() === true && 'SELinux is enabled in this kernel' },
  async (t) => {
    const { mnt, shell } = await ground(t);
    const label = 'context="system_u:object_r:container_file_t:s0:c1,c2",rootcontext=a:b:c';
    const outcome = await shell(`
    mount -t fuse.nfs-fuse "$TARGET" "$MNT" -o "$PORTS"',${label}'
    mounts
    mount -o remount,ro "$MNT"
    umount "$MNT"`);
    const [mounted = ''] = succeeds(t, outcome);
    t.ok(mounted.startsWith(`${mnt} fuse.nfs-fuse `));
    t.notMatch(mounted, /context/);
  },
);

t.test('ro means read only', async (t) => {
  const { shell } = await ground(t);
  const outcome = await shell(`
    mount -r -t fuse.nfs-fuse -o "$PORTS" "$TARGET" "$MNT"
    mounts
    ! touch "$MNT/file"
    umount "$MNT"`);
  t.equal(outcome.status, 0);
  t.match(outcome.stdout, / ro,nosuid,nodev,/);
  t.match(outcome.stderr, /^touch: .*Read-only file system\n$/);
});

t.test('mount mounts a line of fstab by its mount point, and with -a', async (t) => {
  const { folder, served, port, fstab, shell } = await ground(t);
  const ports = `port=${port},mountport=${port},nolock`;
  for (const name of ['with space', 'by hand', 'sub']) mkdirSync(join(folder, name));
  mkdirSync(join(served, 'sub'));
  const file = fstab(
    `127.0.0.1:/export      ${folder}/with\\040space  fuse.nfs-fuse  defaults,_netdev,nofail,${ports}  0 0`,
    `127.0.0.1:/export      ${folder}/by\\040hand     fuse.nfs-fuse  noauto,x-systemd.automount,${ports}  0 0`,
    `127.0.0.1:/export/sub  ${folder}/sub            fuse.nfs-fuse  ro,${ports}  0 2`,
  );
  const outcome = await shell(`
    cd "$(dirname "$MNT")"
    mount -T ${file} "$PWD/by hand" && mounts && umount "by hand" && echo all
    mount -T ${file} -a && mounts
    echo content > "with space/sub/file" && cat sub/file
    mount -T ${file} -a && mounts
    umount sub && umount "with space"`);
  const lines = succeeds(t, outcome).map((line) => line.split(' ').slice(0, 3).join(' '));
  const space = `${dirname(file)}/with\\x20space fuse.nfs-fuse 127.0.0.1:/export`;
  const sub = `${dirname(file)}/sub fuse.nfs-fuse 127.0.0.1:/export/sub`;
  t.same(lines, [
    `${dirname(file)}/by\\x20hand fuse.nfs-fuse 127.0.0.1:/export`,
    'all',
    space,
    sub,
    'content',
    space,
    sub,
  ]);
});

t.test('a mount that fails makes mount(8) fail, and the reason is shown', async (t) => {
  const { shell } = await ground(t);
  const refused = await shell('mount -t fuse.nfs-fuse -o port=1,mountport=1 "$TARGET" "$MNT"');
  t.not(refused.status, 0);
  t.match(refused.stderr, /refuses connections to port 1/);
  t.notMatch(refused.stderr, STACK_TRACE);
  const misspelt = await shell('mount -t fuse.nfs-fuse -o rszie=1 "$TARGET" "$MNT"');
  t.not(misspelt.status, 0);
  t.match(misspelt.stderr, /Did you mean "rsize"/);
});

/** The flags of mount and file system that tests look at, of each line of `mounts`. */
function flagsIn(line = ''): string {
  const shown = (line.split(' ')[3] ?? '').split(',');
  return shown.filter((flag) => !/^(user_id|group_id|max_read)=/.test(flag)).join(',');
}

t.test('mount -o remount changes the flags of the kernel, and leaves the others as they are', async (t) => {
  const { shell } = await ground(t);
  const outcome = await shell(`
    mount -t fuse.nfs-fuse -o "$PORTS" "$TARGET" "$MNT"
    echo content > "$MNT/file"
    for change in ro rw noexec,noatime nodiratime exec,relatime sync,lazytime async strictatime; do
      mount -o remount,$change "$MNT"
      mounts
    done
    cat "$MNT/file"
    umount "$MNT"`);
  const lines = succeeds(t, outcome);
  t.equal(lines.pop(), 'content');
  t.same(lines.map(flagsIn), [
    'ro,nosuid,nodev,relatime',
    'rw,nosuid,nodev,relatime',
    'rw,nosuid,nodev,noexec,noatime',
    'rw,nosuid,nodev,noexec,noatime,nodiratime',
    'rw,nosuid,nodev,nodiratime,relatime',
    'rw,nosuid,nodev,nodiratime,relatime,sync,lazytime',
    'rw,nosuid,nodev,nodiratime,relatime,lazytime',
    'rw,nosuid,nodev,nodiratime,lazytime',
  ]);
});

t.test('remount,ro brings what was written to the server, and refuses writes from then on', async (t) => {
  const { served, shell } = await ground(t);
  const outcome = await shell(`
    mount -t fuse.nfs-fuse -o "$PORTS" "$TARGET" "$MNT"
    exec 5> "$MNT/open"
    ! mount -o remount,ro "$MNT"
    mounts
    echo unsynced >&5
    exec 5>&-
    mount -o remount,ro "$MNT"
    cat ${served}/open
    ! touch "$MNT/other"
    mount -o remount,rw "$MNT"
    touch "$MNT/other"
    ls ${served}
    umount "$MNT"`);
  t.equal(outcome.status, 0, outcome.stderr);
  const [first, ...more] = outcome.stdout.trimEnd().split('\n');
  t.match(flagsIn(first), /^rw,/, 'a file that is open for writing is in the way');
  t.same(more, ['unsynced', 'open', 'other']);
  t.match(outcome.stderr, /cannot become read-only: files on it are open for writing\.\n.*fuser/);
  t.match(outcome.stderr, /touch: .*Read-only file system/);
  t.notMatch(outcome.stderr, STACK_TRACE);
});

t.test('after remount,sync a write is on the server when it returns', async (t) => {
  const { served, shell } = await ground(t);
  const outcome = await shell(`
    mount -t fuse.nfs-fuse -o "$PORTS" "$TARGET" "$MNT"
    mount -o remount,sync "$MNT"
    exec 5> "$MNT/file"
    echo content >&5
    cat ${served}/file
    exec 5>&-
    umount "$MNT"`);
  t.same(succeeds(t, outcome), ['content']);
});

t.test(
  'remount names every option that it cannot change, and accepts those that repeat the mount’s',
  async (t) => {
    const { mnt, fstab, port, shell } = await ground(t);
    const ports = `port=${port},mountport=${port},nolock`;
    const file = fstab(`127.0.0.1:/export ${mnt} fuse.nfs-fuse noauto,_netdev,soft,${ports} 0 0`);
    const outcome = await shell(`
    mount -T ${file} "$MNT"
    mount -T ${file} -o remount,ro "$MNT" && mounts
    ! mount -o remount,rw,rsize=4096,hard,acregmin=3,nosuchthing "$MNT"
    ! mount -o remount,rw,rsize=4096,hard,acregmin=3,dirsync "$MNT"
    ! nfs-fuse mount -o remount,rw 127.0.0.1:/other "$MNT"
    mounts
    umount "$MNT"
    ! nfs-fuse mount -o remount,rw 127.0.0.1:/export "$MNT"`);
    t.equal(outcome.status, 0, outcome.stderr);
    const flags = outcome.stdout.trimEnd().split('\n').map(flagsIn);
    t.same(flags, ['ro,nosuid,nodev,relatime', 'ro,nosuid,nodev,relatime']);
    t.match(outcome.stderr, /nfs-fuse: The mount option "nosuchthing" is unknown/);
    t.match(
      outcome.stderr,
      /nfs-fuse: rsize=4096, hard, dirsync cannot be changed while .* is mounted\.\n +Unmount it/,
    );
    t.match(outcome.stderr, /is a mount of 127\.0\.0\.1:\/export, not of 127\.0\.0\.1:\/other/);
    t.match(outcome.stderr, /is not a mount point/);
    t.notMatch(outcome.stderr, STACK_TRACE);
  },
);

t.test('root of the machine gets dev or suid on request; mount(8) and other users do not', async (t) => {
  const { shell, served } = await ground(t);
  const outcome = await shell(`
    mknod ${served}/null c 1 3
    attempt() { "$@"; mounts; echo x > "$MNT/null" && echo written || echo refused; umount "$MNT"; }
    attempt nfs-fuse mount -o "$PORTS,dev" "$TARGET" "$MNT"
    attempt nfs-fuse mount -o "$PORTS,suid,dev" "$TARGET" "$MNT"
    attempt mount -t fuse.nfs-fuse -o "$PORTS,allow_dev" "$TARGET" "$MNT"
    attempt mount -t fuse.nfs-fuse -o "$PORTS" "$TARGET" "$MNT"
    attempt nfs-fuse mount -o "$PORTS,suid,dev,nosuid,nodev" "$TARGET" "$MNT"`);
  t.equal(outcome.status, 0, outcome.stderr);
  const lines = outcome.stdout.trimEnd().split('\n');
  t.same(
    lines.map((line) => (line.includes(' ') ? flagsIn(line) : line)),
    [
      ...['rw,nosuid,relatime', 'written'],
      ...['rw,relatime', 'written'],
      ...['rw,nosuid,relatime', 'written'],
      ...['rw,nosuid,nodev,relatime', 'refused'],
      ...['rw,nosuid,nodev,relatime', 'refused'],
    ],
  );
});

t.test('one line tells a user who may not have dev or suid', async (t) => {
  const { shell } = await ground(t);
  const outcome = await shell(`
    unshare -Urm sh -c 'nfs-fuse mount -o "$PORTS,dev,suid" "$TARGET" "$MNT" && grep " $MNT " /proc/self/mountinfo'`);
  t.equal(outcome.status, 0, outcome.stderr);
  t.match(outcome.stdout, / rw,nosuid,nodev,relatime - fuse\.nfs-fuse /);
  t.match(
    outcome.stderr,
    /^nfs-fuse: The mount is nosuid,nodev: suid and dev are for root of the machine only.*\.\n$/,
  );
});
