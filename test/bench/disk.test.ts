/** The benchmark's disk: an ext4 file system of its own where there are loop devices, and gone whatever happens. */
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { openDisk } from '../../bench/disk.js';
import { compileLoad } from '../../bench/load.js';
import { publicFolder } from '../support/folders.js';
import { mountsOf } from '../support/mount.js';
import { mustRun, start, until } from '../support/process.js';
import { projectRoot } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';

const tools = publicFolder();
const load = await compileLoad(tools.path);
t.teardown(() => tools.remove());

const mountAt = (path: string) => mountsOf(process.pid).find((entry) => entry.path === path);

t.test('the disk is an ext4 image that is fully there, or the machine has no loop devices', async (t) => {
  const notes: string[] = [];
  const disk = untilEnd(
    t,
    await openDisk({ bytes: 32 << 20, load, folder: false, note: (what) => notes.push(what) }),
  );
  const folder = dirname(disk.path);
  mkdirSync(join(disk.path, 'store'));
  writeFileSync(join(disk.path, 'store/file'), 'x');
  if (notes.length > 0) {
    t.match(notes[0], /loop device/);
    t.equal(mountAt(disk.path), undefined);
  } else {
    t.match(mountAt(disk.path), { type: 'ext4', source: /^\/dev\/loop/ });
    const { blocks } = statSync(join(folder, 'image'));
    t.ok(blocks * 512 >= 32 << 20, 'every block of the image is allocated');
    t.match(disk.description, /32 MiB/);
    // Another test's mount namespace may hold a copy of the mount for a while, so it need not be free at once.
    const columns = ['--noheadings', '--output', 'AUTOCLEAR,BACK-FILE'];
    t.match(await mustRun(['losetup', '--list', ...columns]), new RegExp(`1 +${folder}/image`));
  }
  await disk.close();
  t.equal(mountAt(disk.path), undefined);
  t.notOk(existsSync(disk.path));
});

t.test('without room for it, a folder does, and the reason is told', async (t) => {
  const notes: string[] = [];
  const disk = await openDisk({ bytes: 2 ** 60, load, folder: false, note: (what) => notes.push(what) });
  t.match(notes, [/less than \d+ MiB free/]);
  t.equal(mountAt(disk.path), undefined);
  writeFileSync(join(disk.path, 'file'), 'x');
  await disk.close();
  t.notOk(existsSync(disk.path));
});

t.test('an interrupted benchmark leaves no mount and no image behind', async (t) => {
  const argv = ['--import', 'tsx', join(projectRoot, 'test/bench/hold-disk.ts'), load];
  const env = { ...process.env, NODE_OPTIONS: '' };
  const holder = untilEnd(t, start([process.execPath, ...argv], { cwd: projectRoot, env }));
  await until(
    'the disk is there',
    () => {
      if (holder.outcome) throw new Error(`it ended: ${holder.output}`);
      return holder.output.includes('\n');
    },
    60_000,
  );
  const path = holder.output.split('\n')[0] ?? '';
  t.ok(existsSync(path));
  holder.child.kill('SIGINT');
  await holder.ended;
  t.equal(mountAt(path), undefined);
  t.notOk(existsSync(path));
});
