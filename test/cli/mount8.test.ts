/**
 * mount(8) and fstab: mount.fuse3 of the package fuse3 calls us with what they add to the options. Everything runs in
 * mount and process namespaces of its own, where `nfs-fuse` is installed as npm installs it.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { EmbeddedServer } from '../../lib/server/index.js';
import { publicFolder } from '../support/folders.js';
import { WITHOUT_FUSE } from '../support/places.js';
import { run } from '../support/process.js';
import { product, type Said, STACK_TRACE, said } from './product.js';

/**
 * mount(8) looks for programs in its own list of folders only. What is left mounted when the script ends is gone with
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
  /** Writes an fstab; answers its path. */
  fstab(...lines: string[]): string;
  /** Runs a shell script in the namespaces; $MNT, $PORTS and $TARGET are set. */
  shell(script: string): Promise<Said>;
}

async function ground(t: Test): Promise<Ground> {
  const scratch = publicFolder();
  t.teardown(() => scratch.remove());
  const folder = scratch.path;
  const served = join(folder, 'served');
  const mnt = join(folder, 'mnt');
  for (const path of [served, mnt]) mkdirSync(path);
  const server = await EmbeddedServer.start({ path: served });
  t.teardown(() => server.close());
  const { port } = server;
  const [NODE = '', PRODUCT = ''] = product;
  const variables = {
    NODE,
    PRODUCT,
    MNT: mnt,
    PORTS: `port=${port},mountport=${port}`,
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

t.test('options that mount(8) and fstab know are taken without a word', async (t) => {
  const { shell } = await ground(t);
  const generic = 'rw,dev,suid,exec,async,auto,nouser,relatime,diratime,_netdev,nofail,comment=x';
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
  t.match(first, / rw,nosuid,nodev,/, 'dev and suid are not granted');
  t.match(second, / rw,nosuid,nodev,noexec,/);
});

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

t.test('a line of fstab is mounted by its mount point, and by mount -a', async (t) => {
  const { folder, served, port, fstab, shell } = await ground(t);
  const ports = `port=${port},mountport=${port}`;
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
