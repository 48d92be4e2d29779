/** Inline volumes: pods describe them themselves, and get nothing that concerns others. */
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { openPlace } from '../support/places.js';
import { run } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { capability, Driver, PodVolume } from './support/csi-client.js';

const place = untilEnd(t, await openPlace('root'));
const served = untilEnd(t, await ServeCommand.start(place));
mkdirSync(join(place.folder, 'pods'), { mode: 0o755 });
mkdirSync(join(served.directory, 'tenant'));
const driver = await Driver.start(t, place);

const own = served.mountOptions.join(',');
const attributes = {
  server: served.host,
  share: served.exportPath,
  subDir: 'tenant',
  mountOptions: own,
  'csi.storage.k8s.io/ephemeral': 'true',
};

function inlineOn(driver: Driver, pod: string, change: Readonly<Record<string, string>> = {}): PodVolume {
  return new PodVolume(driver, `csi-${pod}`, { ...attributes, ...change }, [], pod);
}

t.test('options that concern others are refused, and a remedy is named', async (t) => {
  for (const option of [
    'uid=0',
    'gid=0',
    'idmap-uid=0:0:1',
    'groups=0',
    'idmapped,uid=1,gid=1',
    'fsc=/run/nfs-fuse/x,fscsize=8000t',
    'readahead=4000000000',
    'writebehind=4000000000',
    'context=system_u:object_r:etc_t:s0',
    'mounthost=127.0.0.1',
    'nlmcallback',
    'sloppy,unheard-of',
  ])
    t.match(
      await inlineOn(driver, 'asking', { mountOptions: `${own},${option}` }).publishFailure(),
      {
        code: 'INVALID_ARGUMENT',
        details: /is not for inline volumes. Write a PersistentVolume, or start the driver with --inline-/,
      },
      option,
    );
  for (const option of ['suid', 'dev', 'allow_suid', 'allow_dev'])
    t.match(
      await inlineOn(driver, 'asking', { mountOptions: `${own},${option}` }).publishFailure(),
      { code: 'INVALID_ARGUMENT' },
      option,
    );
  const { code, details } = await inlineOn(driver, 'asking', { mountOptions: 'hrad' }).publishFailure();
  t.match([code, details], ['INVALID_ARGUMENT', /Did you mean "hard"/]);
});

t.test('options that concern the mount alone are taken', async (t) => {
  const options = 'ro,noatime,noexec,soft,timeo=50,retrans=3,nconnect=2,rsize=65536,actimeo=9,x-any,defaults';
  const volume = inlineOn(driver, 'modest', { mountOptions: `${own},${options}` });
  await volume.publish();
  t.throws(() => writeFileSync(join(volume.target, 'new'), ''), { code: 'EROFS' });
  await volume.unpublish();
});

t.test('the folder keeps its permissions and its group', async (t) => {
  const folder = join(served.directory, 'tenant');
  const before = statSync(folder);
  t.match(await inlineOn(driver, 'changing', { mountPermissions: '0777' }).publishFailure(), {
    code: 'INVALID_ARGUMENT',
    details: /mountPermissions is not for inline volumes/,
  });
  const volume = inlineOn(driver, 'member', { mountPermissions: '0' });
  mkdirSync(dirname(volume.target), { recursive: true, mode: 0o755 });
  await volume.publish({ volume_capability: capability([], 1, '4242') });
  const { mode, gid } = statSync(folder);
  t.same([mode, gid], [before.mode, before.gid]);
  const member = ['setpriv', '--reuid=1234', '--regid=1234', '--groups=4242'];
  t.equal((await run([...member, 'ls', volume.target])).status, 0);
  t.not((await run([...member, 'touch', join(volume.target, 'theirs')])).status, 0);
  await volume.unpublish();
});

t.test('--inline-volumes=any takes what other volumes may have', async (t) => {
  const trusting = await Driver.start(t, place, ['--node-id', 'node1', '--inline-volumes', 'any']);
  mkdirSync(join(served.directory, 'trusted'));
  const change = { subDir: 'trusted', mountPermissions: '0770', mountOptions: `${own},uid=0,gid=0` };
  const volume = inlineOn(trusting, 'trusted', change);
  await volume.publish();
  t.equal(statSync(join(served.directory, 'trusted')).mode & 0o7777, 0o770);
  await volume.unpublish();
});

t.test('--inline-volumes=none takes no inline volume, and all others', async (t) => {
  const wary = await Driver.start(t, place, ['--node-id', 'node1', '--inline-volumes', 'none']);
  t.match(await inlineOn(wary, 'unwanted').publishFailure(), {
    code: 'INVALID_ARGUMENT',
    details: /takes no inline volumes. Write a PersistentVolume/,
  });
  const volume = PodVolume.on(wary, served, '', 'wanted');
  await volume.publish();
  await volume.unpublish();
});

t.test('what no volume could have is refused as the driver starts', async (t) => {
  const argv = [...place.product, 'csi', '--endpoint', 'unix:///nowhere/csi.sock', '--node'];
  const cases: [string[], RegExp][] = [
    [['--node-id', 'n', '--inline-volumes', 'saef'], /Did you mean --inline-volumes=safe\?/],
    [['--node-id', 'n'.repeat(257)], /--node-id has more than the 256 bytes/],
    [
      ['--node-id', 'n', '-o', 'ro,bg'],
      /The mount option "bg" is not for volumes.*The kubelet tries again by itself/s,
    ],
  ];
  for (const [wrong, words] of cases) {
    const { status, stderr } = await run(place.command([...argv, ...wrong]), { cwd: '/' });
    t.equal(status, 1);
    t.match(String(stderr), words);
  }
});
