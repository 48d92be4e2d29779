/** `nfs-fuse umount` of a mount that has another place: a copy in another mount namespace, or a bind mount. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  type BackgroundMount,
  backgroundMount,
  DATA,
  heldServer,
  leaveUnwritten,
} from '../support/held-mount.js';
import { type Background, mustRun, run, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

t.jobs = 2;

/** A mount namespace with a copy of every mount, until it is stopped. */
async function otherNamespace(t: Test): Promise<Background> {
  const holder = untilEnd(
    t,
    start(['unshare', '-m', '--propagation', 'private', 'sh', '-c', 'echo in; exec sleep 1000']),
  );
  await until('the namespace is there', () => holder.output.includes('in'));
  return holder;
}

const inside = (holder: Background, ...argv: string[]) =>
  mustRun(['nsenter', '-t', String(holder.pid), '-m', ...argv], { cwd: '/' });

/** Waits until the serving process has ended, which it does when the mount has no place any more. */
const endsWith = (mount: BackgroundMount) => until('the process has ended', () => !mount.isRunning);

t.test('umount returns when everything is written back, and tells why the process goes on', async (t) => {
  const where = await heldServer(t);
  const mount = await backgroundMount(t, where);
  const holder = await otherNamespace(t);
  await leaveUnwritten(t, where, mount, 'file');
  const unmounting = mount.nfsFuse('umount', mount.path);
  where.proxy.release();
  const { status, stderr } = await unmounting;
  t.equal(status, 0);
  t.match(
    stderr.toString(),
    /is unmounted, and everything is written back\. (Another|Other) mount namespace/,
  );
  t.match(stderr.toString(), new RegExp(`process ${mount.pid} goes on`));
  t.ok(where.served('file').equals(DATA), 'the data is there');
  t.notOk(mount.isMounted);
  t.ok(mount.isRunning);
  await inside(holder, 'sh', '-c', `echo later > ${mount.path}/later && cat ${mount.path}/file > /dev/null`);
  t.equal(where.served('later').toString(), 'later\n', 'it is served in the other namespace');
  await inside(holder, 'umount', mount.path);
  await holder.stop();
});

t.test('umount --json names the other namespace, and umount there ends the process', async (t) => {
  const where = await heldServer(t);
  const mount = await backgroundMount(t, where);
  const holder = await otherNamespace(t);
  const { status, stdout, stderr } = await mount.nfsFuse('umount', '--json', mount.path);
  t.match({ status, stderr: stderr.toString() }, { status: 0, stderr: /^$/ });
  const told = JSON.parse(stdout.toString());
  t.match(told, {
    mountpoint: mount.path,
    source: '127.0.0.1:/export',
    pid: mount.pid,
    writtenBack: true,
    stillMounted: { mountpoints: [] },
    note: /mount namespace/,
  });
  const pids: unknown[] = told.stillMounted.processes.map(({ pid }: { pid: number }) => pid);
  t.ok(pids.includes(holder.pid), 'by the process in it');
});

t.test('umount names a bind mount that keeps the mount', async (t) => {
  const where = await heldServer(t);
  const mount = await backgroundMount(t, where);
  const other = join(where.place.folder, 'other');
  mkdirSync(other);
  await mustRun(['mount', '--bind', mount.path, other]);
  t.teardown(() => run(['umount', '-l', other]));
  await mustRun(['sh', '-c', `echo content > ${other}/file`]);
  const { status, stderr } = await mount.nfsFuse('umount', mount.path);
  t.equal(status, 0);
  t.match(stderr.toString(), `It is mounted on ${other} too.`);
  t.equal(await mustRun(['cat', join(other, 'file')]), 'content\n', 'it is served there');
  t.match(await mount.nfsFuse('umount', other), { status: 0 });
});

t.test('umount reports data that the server refuses although the mount lives on elsewhere', async (t) => {
  const where = await heldServer(t);
  const mount = await backgroundMount(t, where);
  await otherNamespace(t);
  await leaveUnwritten(t, where, mount, 'file');
  where.server.faults.add({ procedure: 'WRITE', status: 28, times: Number.POSITIVE_INFINITY });
  const unmounting = mount.nfsFuse('umount', mount.path);
  where.proxy.release();
  const { status, stderr } = await unmounting;
  t.equal(status, 1);
  t.match(stderr.toString(), /\/file: data was lost|data of 1 file was lost/);
  t.notOk(mount.isMounted);
});

t.test('a mount that is mounted nowhere else ends with its umount', async (t) => {
  const where = await heldServer(t);
  const mount = await backgroundMount(t, where);
  const { status, stdout } = await mount.nfsFuse('umount', '--json', mount.path);
  t.equal(status, 0);
  const told = JSON.parse(stdout.toString());
  t.match(told, { mountpoint: mount.path, pid: mount.pid, writtenBack: true });
  if (told.stillMounted === undefined) await endsWith(mount);
});
