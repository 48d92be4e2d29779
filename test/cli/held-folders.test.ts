/** Folders that other processes hold open are looked at for control sockets, but not where the look could last for ever. */
import { mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { askStats } from '../../lib/mount/reach/mount-control.js';
import { RuntimeFolder } from '../../lib/mount/reach/runtime-folder.js';
import { ServeCommand } from '../support/embedded.js';
import { publicFolder } from '../support/folders.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

const NUMBER = 3;

/** A process that has a folder open under that number. */
async function holderOf(t: Test, folder: string): Promise<number> {
  const held = untilEnd(
    t,
    start(['sh', '-c', `exec ${NUMBER}< "$0"; cd /; echo held; exec sleep 1000`, folder], { cwd: '/' }),
  );
  await until('it is held', () => held.output.includes('held'));
  return held.pid;
}

t.test('a folder on a local file system is opened, whoever holds it', async (t) => {
  const path = join(untilEnd(t, publicFolder()).path, 'nfs-fuse');
  mkdirSync(path);
  const folder = RuntimeFolder.heldBy(await holderOf(t, path), NUMBER);
  t.equal(folder && realpathSync(folder.at('')), path);
  folder?.close();
});

t.test('a folder on a mount whose process is stopped keeps nobody waiting', async (t) => {
  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await ServeCommand.start(place));
  mkdirSync(join(server.directory, 'nfs-fuse'));
  const mount = untilEnd(t, await Mount.start({ source: server, place }));
  await mount.served();
  const pid = await holderOf(t, join(mount.path, 'nfs-fuse'));
  mount.signal('SIGSTOP');
  t.teardown(() => mount.signal('SIGCONT'));
  t.equal(RuntimeFolder.heldBy(pid, NUMBER), undefined);
  // No mount has this number, so everything is looked at.
  const stats = await askStats({ major: 100_000 + process.pid, minor: 1, superOptions: 'rw,user_id=0' });
  t.equal(stats, undefined);
});
