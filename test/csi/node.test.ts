/** Volumes as the kubelet publishes them: mounts, what is refused, and what happens when something dies. */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { Ganesha } from '../support/ganesha.js';
import { mountsOf } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { mustRun, run, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { killForGood } from '../support/watchers.js';
import { capability, Driver, Mode, PodVolume } from './support/csi-client.js';
import { failsWithCodes } from './support/failure-codes.js';

const place = untilEnd(t, await openPlace('root'));
const served = untilEnd(t, await ServeCommand.start(place));
const ganesha = untilEnd(t, await Ganesha.start());
const driver = await Driver.start(t, place);

// Containers come in by another way than through the folders of the kubelet, which are for root.
mkdirSync(join(place.folder, 'pods'), { mode: 0o755 });

const mountsAt = (path: string) => mountsOf(process.pid).filter((entry) => entry.path === path);

for (const [name, server] of [
  ['the embedded server', served],
  ['nfs-ganesha', ganesha],
] as const) {
  t.test(`${name}: a volume is published, published again, and unpublished again`, async (t) => {
    const volume = PodVolume.on(driver, server);
    t.same(await volume.publish(), {});
    writeFileSync(join(volume.target, 'file'), 'content');
    await volume.publish();
    t.equal(mountsAt(volume.target).length, 1);
    t.equal(readFileSync(join(volume.target, 'file'), 'utf8'), 'content');
    await volume.unpublish();
    t.notOk(existsSync(volume.target), 'the folder is gone too');
    t.equal(readFileSync(join(server.directory, 'file'), 'utf8'), 'content');
    await volume.unpublish();
  });

  t.test(`${name}: a volume that was provisioned is used by a pod of another user and fsGroup`, async (t) => {
    const asked = {
      name: `pvc-${server.port}`,
      parameters: { server: server.host, share: server.exportPath },
      volume_capabilities: [capability(server.mountOptions)],
      secrets: { mountOptions: server.mountOptions.join(',') },
    };
    const { volume: made } = await driver.client.call('Controller', 'CreateVolume', asked);
    const { volume_id: id, volume_context: context } = made as {
      volume_id: string;
      volume_context: Record<string, string>;
    };
    const volume = new PodVolume(driver, id, context, server.mountOptions, 'of-a-group');
    const group = capability(server.mountOptions, Mode.SINGLE_NODE_WRITER, '4242');
    mkdirSync(dirname(volume.target), { recursive: true, mode: 0o755 });
    await volume.publish({ volume_capability: group });
    const member = ['setpriv', '--reuid=1234', '--regid=1234', '--groups=4242'];
    await mustRun([...member, 'sh', '-c', 'echo mine > "$0/file"', volume.target]);
    t.match(statSync(join(server.directory, asked.name, 'file')), { uid: 1234, gid: 4242 });
    const stranger = ['setpriv', '--reuid=1235', '--regid=1235', '--clear-groups'];
    t.not((await run([...stranger, 'touch', join(volume.target, 'theirs')])).status, 0);
    await volume.unpublish();
    await driver.client.call('Controller', 'DeleteVolume', { volume_id: id, secrets: asked.secrets });
    t.notOk(existsSync(join(server.directory, asked.name)));
  });
}

t.test('nothing is unpublished as often as one likes', async (t) => {
  const volume = PodVolume.on(driver, served, '', 'nobody');
  t.same(await volume.unpublish(), {});
  mkdirSync(volume.target, { recursive: true });
  await volume.unpublish();
  t.notOk(existsSync(volume.target));
  mkdirSync(volume.target, { recursive: true });
  writeFileSync(join(volume.target, 'stray'), '');
  t.match(await volume.unpublishFailure(), {
    code: 'INTERNAL',
    details: /ENOTEMPTY.*Move away what is in it/,
  });
  await mustRun(['rm', '-r', volume.target]);
});

t.test('another volume, or another way to use it, is not published over the first', async (t) => {
  mkdirSync(join(served.directory, 'other'));
  const volume = PodVolume.on(driver, served);
  await volume.publish();
  const context = { ...volume.context, subDir: 'other' };
  t.match(await volume.publishFailure({ volume_context: context }), { code: 'ALREADY_EXISTS' });
  t.match(await volume.publishFailure({ readonly: true }), { code: 'ALREADY_EXISTS', details: /writable/ });
  await volume.unpublish();
});

t.test('a volume that is only read is mounted so', async (t) => {
  const volume = PodVolume.on(driver, served);
  for (const change of [
    { readonly: true },
    { volume_capability: capability(volume.flags, Mode.MULTI_NODE_READER_ONLY) },
    { volume_capability: capability([...volume.flags, 'ro']) },
  ]) {
    await volume.publish(change);
    await volume.publish(change);
    t.throws(() => writeFileSync(join(volume.target, 'new'), ''), { code: 'EROFS' });
    await volume.unpublish();
  }
});

t.test('an inline volume has its options among its attributes', async (t) => {
  mkdirSync(join(served.directory, 'inline'));
  const context = {
    Server: served.host,
    SHARE: served.exportPath,
    subdir: 'inline',
    mountOptions: `${served.mountOptions.join(',')},noatime`,
    'csi.storage.k8s.io/ephemeral': 'true',
    'csi.storage.k8s.io/pod.name': 'pod1',
    'csi.storage.k8s.io/pod.namespace': 'default',
  };
  const volume = new PodVolume(driver, 'csi-0123456789abcdef', context, []);
  await volume.publish();
  writeFileSync(join(volume.target, 'file'), '');
  t.match(mountsAt(volume.target)[0]?.options, /noatime/);
  await volume.unpublish();
  t.ok(existsSync(join(served.directory, 'inline/file')), 'data outlives the pod');
});

t.test('what cannot be published is refused, in the words of the command line', async (t) => {
  const volume = PodVolume.on(driver, served);
  const cases: [object, RegExp][] = [
    [{ volume_id: '' }, /no id of a volume/],
    [{ target_path: '' }, /no target_path/],
    [{ target_path: 'pods/x' }, /not the absolute path/],
    [{ target_path: `/${'x/'.repeat(2100)}x` }, /which no path may have/],
    [{ target_path: join(place.folder, 'pods', 'x'.repeat(300), 'mount') }, /ENAMETOOLONG/],
    [{ target_path: join(place.folder, 'pods', 'x'.repeat(300)) }, /ENAMETOOLONG/],
    [{ volume_capability: null }, /no capability/],
    [{ volume_capability: { block: {}, access_mode: { mode: 1 } } }, /block volume/],
    [{ volume_capability: capability(['hrad']) }, /option "hrad" is unknown. Did you mean "hard"/],
    [{ volume_capability: capability(['timeo=x']) }, /timeo=x is not a number/],
    [{ volume_capability: capability([...volume.flags, 'remount']) }, /"remount" is not for volumes/],
    [{ volume_capability: capability([...volume.flags, 'suid,dev']) }, /A volume cannot have/],
    [{ volume_context: { ...volume.context, mountOptions: 'allow_dev' } }, /A volume cannot have/],
    [{ volume_capability: capability(volume.flags, 1, 'users') }, /groups=users is not a list of numbers/],
    [{ volume_context: {} }, /server is a required parameter/],
    [{ volume_context: { ...volume.context, mountOption: 'ro' } }, /Did you mean "mountOptions"/],
    [{ volume_context: { ...volume.context, subDir: '../x' } }, /not a folder below the share/],
    [{ volume_context: { ...volume.context, share: '/a/../b' } }, /has ".."/],
  ];
  for (const [change, details] of cases)
    t.match(await volume.publishFailure(change), { code: 'INVALID_ARGUMENT', details }, String(details));
  t.notOk(volume.isMounted);
  t.match(await volume.publishFailure({ volume_context: { ...volume.context, subDir: 'not there' } }), {
    code: 'NOT_FOUND',
    details: /not there/,
  });
  t.notOk(existsSync(volume.target), 'no folder is left in which a pod would write to this machine');
});

t.test('a volume that cannot be mounted is not there, and the code and the words tell why', (t) =>
  failsWithCodes(t, PodVolume.on(driver, served, '', 'wrong')),
);

t.test('a dead mount is published anew, and what subPath left of it is taken away', async (t) => {
  const volume = PodVolume.on(driver, served, '', 'dying');
  await volume.publish();
  const subPath = join(
    place.folder,
    'pods/dying/volume-subpaths',
    volume.target.split('/').at(-2) ?? '',
    'app/0',
  );
  mkdirSync(subPath, { recursive: true });
  mkdirSync(join(served.directory, 'sub'), { recursive: true });
  await mustRun(['mount', '--bind', join(volume.target, 'sub'), subPath]);
  const pid = await volume.pid();
  killForGood(pid, volume.target);
  await until('it is dead', async () => (await run(['ls', subPath])).status !== 0);
  await volume.publish();
  t.not(await volume.pid(), pid);
  await mustRun(['ls', volume.target]);
  t.same(mountsAt(subPath), [], 'the dead copy is gone');
  await volume.unpublish();
});

t.test('a dead mount is unpublished', async (t) => {
  const volume = PodVolume.on(driver, served);
  await volume.publish();
  killForGood(await volume.pid(), volume.target);
  await volume.unpublish();
  t.notOk(volume.isMounted);
  t.notOk(existsSync(volume.target));
});

t.test('numbers and condition of a volume', async (t) => {
  const volume = PodVolume.on(driver, ganesha);
  await volume.publish();
  const { usage, volume_condition: condition } = await volume.stats();
  t.match(usage, [
    { unit: 1, total: /^\d{6,}$/, available: /^\d+$/, used: /^\d+$/ },
    { unit: 2, total: /^\d+$/, available: /^\d+$/, used: /^\d+$/ },
  ]);
  t.match(condition, { abnormal: false });
  ganesha.freeze(true);
  t.match(await volume.stats(), {
    usage: [],
    volume_condition: { abnormal: true, message: /does not answer/ },
  });
  ganesha.freeze(false);
  const pid = await volume.pid();
  process.kill(pid, 'SIGSTOP');
  t.match(await volume.stats(), { volume_condition: { abnormal: true } });
  process.kill(pid, 'SIGCONT');
  await volume.unpublish();
  const stats = (request: object) => driver.client.failure('Node', 'NodeGetVolumeStats', request);
  t.match(await stats({ volume_id: volume.id, volume_path: volume.target }), { code: 'NOT_FOUND' });
  t.match(await stats({ volume_id: volume.id, volume_path: '/' }), { code: 'INVALID_ARGUMENT' });
  t.match(await stats({ volume_id: volume.id, volume_path: '/proc' }), { code: 'NOT_FOUND' });
  t.match(await stats({ volume_id: '', volume_path: volume.target }), { code: 'INVALID_ARGUMENT' });
  t.match(await stats({ volume_id: volume.id }), { code: 'INVALID_ARGUMENT' });
});

t.test('unpublishing waits until data is on the server, and tells who asks meanwhile', async (t) => {
  const volume = PodVolume.on(driver, ganesha);
  await volume.publish();
  const file = join(ganesha.directory, 'late');
  const writer = start(['sh', '-c', 'exec cat /dev/zero > "$0/late"', volume.target]);
  await until('it is writing', () => existsSync(file) && statSync(file).size > 5_000_000);
  ganesha.freeze(true);
  const before = statSync(file).size;
  t.ok((await volume.unwritten()) > 0, 'some of it is on its way');
  writer.signal('SIGKILL');
  t.match(await volume.unpublishFailure(3_000), { code: 'DEADLINE_EXCEEDED' });
  t.match(await volume.unpublishFailure(), { code: 'ABORTED' });
  t.match(await volume.publishFailure(), { code: 'ABORTED' });
  const other = PodVolume.on(driver, served, '', 'another');
  await other.publish();
  await other.unpublish();
  ganesha.freeze(false);
  await writer.ended;
  await until('it is unpublished', async () => {
    const failure = await volume.unpublish().catch((error: unknown) => error);
    if (failure instanceof Error && !/ABORTED|FAILED_PRECONDITION|in use/.test(failure.message))
      throw failure;
    return !(failure instanceof Error);
  });
  t.ok(statSync(file).size > before, 'it is there');
});

t.test('a server that does not answer fails its own volumes in time, and delays no other', async (t) => {
  const dead = untilEnd(t, await Ganesha.start());
  dead.freeze(true);
  const never = PodVolume.on(driver, dead, '', 'never');
  const waiting = never.publishFailure({}, 4_000);
  const quick = PodVolume.on(driver, served, '', 'quick');
  await quick.publish();
  await quick.unpublish();
  t.match(await waiting, { code: 'DEADLINE_EXCEEDED' });
  dead.freeze(false);
  await until('its attempt has ended', async () => {
    const failure = await never.unpublish().catch((error: unknown) => error);
    return !(failure instanceof Error);
  });
  t.notOk(never.isMounted);
  await never.publish();
  await never.unpublish();
});

t.test('a driver that is killed and started again leaves programs alone', async (t) => {
  const volume = PodVolume.on(driver, served, '', 'using');
  await volume.publish();
  const program = untilEnd(
    t,
    start(
      [
        'sh',
        '-c',
        'exec 3> "$0/open" && while read -r line; do echo "$line" >&3; echo "$line"; done',
        volume.target,
      ],
      {
        stdio: ['pipe', 'pipe', 'pipe'],
      },
    ),
  );
  const pid = await volume.pid();
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    await driver.end(signal);
    program.child.stdin?.write(`${signal}\n`);
    await until('it writes', () => program.output.includes(signal));
    await driver.start();
    await volume.publish();
  }
  t.equal(await volume.pid(), pid);
  program.child.stdin?.end();
  t.match(await program.ended, { status: 0 });
  await volume.unpublish();
  t.equal(readFileSync(join(served.directory, 'open'), 'utf8'), 'SIGKILL\nSIGTERM\n');
});

t.test('a hundred calls at once', async (t) => {
  const volumes = Array.from({ length: 5 }, (_, index) => PodVolume.on(driver, served, '', `many${index}`));
  const outcomes = await Promise.all(
    volumes.flatMap((volume) =>
      Array.from({ length: 20 }, () =>
        volume.publish().then(
          () => 'OK',
          (error: unknown) => (/still at work/.test(String(error)) ? 'ABORTED' : String(error)),
        ),
      ),
    ),
  );
  t.equal(outcomes.length, 100);
  t.same([...new Set(outcomes)].sort(), ['ABORTED', 'OK']);
  for (const volume of volumes) t.equal(mountsAt(volume.target).length, 1);
  await Promise.all(volumes.map((volume) => volume.unpublish()));
  for (const volume of volumes) t.notOk(existsSync(volume.target));
});

t.test('what the node can do', async (t) => {
  const { capabilities } = await driver.client.call('Node', 'NodeGetCapabilities');
  t.same(
    capabilities,
    [2, 4, 5, 6].map((type) => ({ rpc: { type } })),
  );
  const volume = PodVolume.on(driver, served);
  const expand = { volume_id: volume.id, volume_path: volume.target, capacity_range: { required_bytes: 7 } };
  t.match(
    await driver.client.failure('Node', 'NodeExpandVolume', {
      ...expand,
      volume_path: `${volume.target}-not`,
    }),
    { code: 'NOT_FOUND' },
  );
  t.match(await driver.client.failure('Node', 'NodeExpandVolume', { ...expand, volume_path: '' }), {
    code: 'INVALID_ARGUMENT',
  });
  await volume.publish();
  t.match(await driver.client.call('Node', 'NodeExpandVolume', expand), { capacity_bytes: '7' });
  await volume.unpublish();
});
