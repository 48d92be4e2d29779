/** The folders and links of volumes: an engine that goes by the path of a volume finds its mount, or nothing. */
import { existsSync, mkdirSync, readdirSync, readlinkSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { VolumeMount } from '../../lib/volume-plugin/volume-mount.js';
import { readVolumeOptions } from '../../lib/volume-plugin/volume-options.js';
import { publicFolder } from '../support/folders.js';
import { untilEnd } from '../support/until-end.js';

interface Folders {
  readonly root: string;
  mountOf(name: string, program?: readonly string[]): VolumeMount;
}

function folders(t: Test): Folders {
  const root = untilEnd(t, publicFolder()).path;
  for (const name of ['mounts', 'volumes']) mkdirSync(join(root, name));
  return {
    root,
    mountOf: (name, program = ['false']) => new VolumeMount(root, name, program, () => {}),
  };
}

t.test('a volume whose name is like that of another one has a link of its own', async (t) => {
  const { root, mountOf } = folders(t);
  const names = ['data', 'data.next', 'data.next.next'];
  const mounts = names.map((name) => mountOf(name));
  for (const mount of mounts) mount.publish();
  for (const mount of mounts) {
    mount.withdraw();
    mount.publish();
  }
  for (const name of names) t.equal(readlinkSync(join(root, 'volumes', name)), `../mounts/${name}`);
  t.same(readdirSync(join(root, 'volumes')).sort(), names, 'and nothing else is left there');
});

t.test('a link that leads to another volume counts as none, and is replaced', async (t) => {
  const { root, mountOf } = folders(t);
  const link = join(root, 'volumes', 'data.next');
  symlinkSync('../mounts/data', link);
  const mount = mountOf('data.next');
  t.notOk(mount.isPublished);
  mount.publish();
  t.ok(mount.isPublished);
  t.equal(readlinkSync(link), '../mounts/data.next');
});

t.test('a command that says it has mounted, and has not, is a failure that leaves no folder', async (t) => {
  const { root, mountOf } = folders(t);
  const settings = readVolumeOptions({ device: 'server:/export' }, []);
  await t.rejects(mountOf('data', ['true']).make(settings), /nothing is mounted/);
  await t.rejects(mountOf('data', ['false']).make(settings), /ended without a word/);
  t.notOk(existsSync(join(root, 'mounts', 'data')));
});
