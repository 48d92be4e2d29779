/** The places at which volumes are published: one volume at a time, in a folder, which goes only if the driver has made it. */
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { NodeService } from '../../lib/csi/node/node-service.js';
import { ServeCommand } from '../support/embedded.js';
import { mountsOf } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { capability, Driver, PodVolume } from './support/csi-client.js';

const place = untilEnd(t, await openPlace('root'));
const served = untilEnd(t, await ServeCommand.start(place));
const driver = await Driver.start(t, place);
const mountsAt = (path: string) => mountsOf(process.pid).filter((entry) => entry.path === path);

t.test('of two volumes for one place at the same time, one is published', async (t) => {
  mkdirSync(join(served.directory, 'rival'));
  const volume = PodVolume.on(driver, served, '', 'contended');
  const rival = { volume_id: 'another', volume_context: { ...volume.context, subDir: 'rival' } };
  const outcomes = await Promise.all(
    [{}, rival].map((change) =>
      volume.publish(change).then(
        () => 'OK',
        (error: unknown) =>
          /still at work|is mounted on .* already/.exec(String(error))?.[0] ?? String(error),
      ),
    ),
  );
  t.equal(outcomes.filter((outcome) => outcome === 'OK').length, 1, outcomes.join(', '));
  t.ok(outcomes.some((outcome) => outcome.startsWith('still') || outcome.startsWith('is mounted')));
  t.equal(mountsAt(volume.target).length, 1);
  const late = outcomes[0] === 'OK' ? rival : {};
  t.match(await volume.publishFailure(late), { code: 'ALREADY_EXISTS' });
  await volume.unpublish();
});

t.test('a symbolic link is no place for a volume, and nothing is mounted where it leads', async (t) => {
  const volume = PodVolume.on(driver, served, '', 'linked');
  const elsewhere = join(place.folder, 'elsewhere');
  mkdirSync(elsewhere);
  mkdirSync(dirname(volume.target), { recursive: true });
  symlinkSync(elsewhere, volume.target);
  t.match(await volume.publishFailure(), { code: 'FAILED_PRECONDITION', details: /is no folder/ });
  t.same(mountsAt(elsewhere), []);
  t.match(await volume.unpublishFailure(), { code: 'FAILED_PRECONDITION', details: /is no folder/ });
  rmSync(volume.target);
  writeFileSync(volume.target, '');
  t.match(await volume.publishFailure(), { code: 'FAILED_PRECONDITION', details: /is no folder/ });
  rmSync(volume.target);
  await volume.publish();
  await volume.unpublish();
});

t.test('a folder that was there before stays, and the true reason of a failure is told', async (t) => {
  const volume = PodVolume.on(driver, served, '', 'failing');
  mkdirSync(volume.target, { recursive: true });
  const wrong = { volume_context: { ...volume.context, share: '/nowhere' } };
  t.match(await volume.publishFailure(wrong), { code: /INTERNAL|NOT_FOUND/, details: /\/nowhere/ });
  t.ok(existsSync(volume.target));
  writeFileSync(join(volume.target, 'stray'), 'stays');
  t.match(await volume.publishFailure(wrong), { code: /INTERNAL|NOT_FOUND/, details: /\/nowhere/ });
  t.equal(readFileSync(join(volume.target, 'stray'), 'utf8'), 'stays');
  rmSync(volume.target, { recursive: true });
  await volume.publishFailure(wrong);
  t.notOk(existsSync(volume.target), 'one that was made for the volume goes');
});

t.test('a volume is published where the server keeps its folder’s group', async (t) => {
  const squashing = untilEnd(t, await ServeCommand.start(place, ['--all-squash']));
  const folder = join(squashing.directory, 'folder');
  mkdirSync(folder);
  const { gid } = statSync(folder);
  const permissions = (statSync(folder).mode & 0o7777).toString(8);
  const flags = capability(squashing.mountOptions, 1, '4242');
  for (const own of [{}, { mountPermissions: permissions }]) {
    const of = PodVolume.on(driver, squashing, 'folder', `grouped${Object.keys(own).length}`);
    const volume = new PodVolume(driver, of.id, { ...of.context, ...own }, of.flags, of.pod);
    await volume.publish({ volume_capability: flags });
    t.equal(statSync(folder).gid, gid);
    await volume.unpublish();
  }
  await until('the log tells of both', () => driver.log.split('stays with its group').length === 3);
  const of = PodVolume.on(driver, squashing, 'folder', 'ungrouped');
  t.match(
    await of.publishFailure({ volume_context: { ...of.context, mountPermissions: '0700' } }),
    { code: 'PERMISSION_DENIED' },
    'permissions that are wished for are no matter of taste',
  );
});

t.test('a folder that is not mounted is not published, whatever is said of its mount', async (t) => {
  const mounting = { make: async () => {}, end: async () => {}, settled: async () => {} };
  const node = new NodeService({ nodeId: 'n', defaults: [], inline: 'safe', mounting, tell: () => {} });
  const { publishRequest, target, flags } = PodVolume.on(driver, served, '', 'believed');
  const mount = { fs_type: '', mount_flags: flags, volume_mount_group: '' };
  const volume_capability = { block: null, mount, access_mode: { mode: 1 } };
  const request = { ...publishRequest, volume_capability, readonly: false };
  const publish = async () => node.calls.NodePublishVolume?.(request, new AbortController().signal);
  await t.rejects(publish(), { code: 'INTERNAL', message: /is said to be mounted/ });
  t.notOk(existsSync(target), 'a program would write to this machine');
  mkdirSync(target);
  await t.rejects(publish(), { code: 'INTERNAL' });
});

t.test('nobody but the user of the driver may connect to it, whatever its umask is', async (t) => {
  t.equal(statSync(driver.socket).mode & 0o777, 0o600);
});
