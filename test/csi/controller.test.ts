/** Volumes as the provisioner makes and removes them: folders of an export, and every error code of the CSI text. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { Ganesha } from '../support/ganesha.js';
import type { MountSource } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { mustRun, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { type Answer, capability, Driver } from './support/csi-client.js';

const GIBIBYTE = 2 ** 30;
const place = untilEnd(t, await openPlace('root'));

type Server = MountSource & { readonly directory: string };
const servers: ReadonlyMap<string, Server> = new Map<string, Server>([
  ['the embedded server', untilEnd(t, await ServeCommand.start(place))],
  ['nfs-ganesha', untilEnd(t, await Ganesha.start())],
]);

interface Volume {
  readonly volume_id: string;
  readonly capacity_bytes: string;
  readonly volume_context: Readonly<Record<string, string>>;
}

for (const [name, server] of servers) {
  const driver = await Driver.start(t, place, ['--controller', '-o', server.mountOptions.join(',')]);
  const parameters = { server: server.host, share: server.exportPath };
  const at = (path: string) => join(server.directory, path);
  const request = (volume: string, change: object = {}) => ({
    name: volume,
    volume_capabilities: [capability()],
    parameters,
    ...change,
  });
  const create = async (volume: string, change: object = {}): Promise<Volume> =>
    (await driver.client.call('Controller', 'CreateVolume', request(volume, change))).volume as Volume;
  const refused = (volume: string, change: object = {}) =>
    driver.client.failure('Controller', 'CreateVolume', request(volume, change));
  const remove = (id: string): Promise<Answer> =>
    driver.client.call('Controller', 'DeleteVolume', { volume_id: id });
  const removeFailure = (id: string) =>
    driver.client.failure('Controller', 'DeleteVolume', { volume_id: id });

  t.test(`${name}: a volume is a folder, and making it again changes nothing`, async (t) => {
    const volume = await create('pvc-1', { capacity_range: { required_bytes: GIBIBYTE } });
    t.same(volume, {
      capacity_bytes: '0',
      volume_id: `${server.host}#export#pvc-1##`,
      volume_context: { ...parameters, subDir: 'pvc-1' },
    });
    t.equal(statSync(at('pvc-1')).mode & 0o7777, 0o755);
    writeFileSync(at('pvc-1/file'), 'content');
    t.same(await create('pvc-1', { capacity_range: { required_bytes: GIBIBYTE } }), volume);
    t.equal(readFileSync(at('pvc-1/file'), 'utf8'), 'content');
    await remove(volume.volume_id);
    t.notOk(existsSync(at('pvc-1')));
    await remove(volume.volume_id);
  });

  t.test(
    `${name}: the same name with another size is refused, also by a driver that was started since`,
    async (t) => {
      const sized = (required: number, limit = 0) => ({
        capacity_range: { required_bytes: required, limit_bytes: limit },
      });
      const { volume_id: id } = await create('sized', sized(2 * GIBIBYTE));
      t.match(await refused('sized', sized(3 * GIBIBYTE)), {
        code: 'ALREADY_EXISTS',
        details: /2147483648 bytes/,
      });
      t.match(await refused('sized', sized(0, GIBIBYTE)), { code: 'ALREADY_EXISTS' });
      await driver.end('SIGKILL');
      await driver.start();
      t.match(await refused('sized', sized(3 * GIBIBYTE)), { code: 'ALREADY_EXISTS' });
      await create('sized', sized(2 * GIBIBYTE));
      await create('sized', sized(GIBIBYTE));
      await remove(id);
      t.equal((await create('sized', sized(3 * GIBIBYTE))).volume_id, id, 'after its end the name is free');
      await remove(id);
      t.match(await refused('sized', sized(2, 1)), { code: 'OUT_OF_RANGE' });
      t.match(await refused('sized', sized(-1)), { code: 'INVALID_ARGUMENT' });
    },
  );

  t.test(`${name}: subDir has templates, and permissions are those of mountPermissions`, async (t) => {
    const metadata = {
      'csi.storage.k8s.io/pvc/name': 'claim',
      'csi.storage.k8s.io/pvc/namespace': 'space',
      'csi.storage.k8s.io/pv/name': 'pvc-2',
    };
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the template is the driver's, not the language's
    const subDir = '${pvc.metadata.namespace}/${pvc.metadata.name}-${pv.metadata.name}';
    const given = { ...parameters, subDir, mountPermissions: '0770', onDelete: 'retain' };
    const volume = await create('pvc-2', { parameters: { ...given, ...metadata } });
    t.equal(volume.volume_id, `${server.host}#export#space/claim-pvc-2#pvc-2#retain`);
    t.equal(volume.volume_context.subDir, 'space/claim-pvc-2');
    t.equal(statSync(at('space/claim-pvc-2')).mode & 0o7777, 0o770);
    await remove(volume.volume_id);
    t.ok(existsSync(at('space/claim-pvc-2')), 'it is retained');
    t.match(await refused('pvc-3', { parameters: given }), {
      code: 'INVALID_ARGUMENT',
      details: /nobody says what that is. Start external-provisioner with --extra-create-metadata/,
    });
    // biome-ignore lint/suspicious/noTemplateCurlyInString: as above
    t.match(await refused('pvc-3', { parameters: { ...parameters, subDir: '${node.name}' } }), {
      code: 'INVALID_ARGUMENT',
      details: /\$\{node\.name\}, which is unknown/,
    });
  });

  t.test(`${name}: a full folder is removed, and nothing that its links lead to`, async (t) => {
    const { volume_id: id } = await create('full');
    writeFileSync(at('precious'), 'stays');
    for (let folder = 0; folder < 5; folder++) {
      mkdirSync(at(`full/${folder}/deep/deeper`), { recursive: true });
      for (let file = 0; file < 60; file++) writeFileSync(at(`full/${folder}/deep/file${file}`), 'x');
    }
    symlinkSync('../precious', at('full/link'));
    symlinkSync(server.directory, at('full/0/link'));
    await mustRun(['mkfifo', at('full/pipe')]);
    await remove(id);
    t.notOk(existsSync(at('full')));
    t.equal(readFileSync(at('precious'), 'utf8'), 'stays');
  });

  t.test(`${name}: a full folder is put aside, and never over another one`, async (t) => {
    const archived = { parameters: { ...parameters, subDir: 'team/data', onDelete: 'archive' } };
    for (const content of ['first', 'second']) {
      const { volume_id: id } = await create(`pvc-${content}`, archived);
      t.equal(id, `${server.host}#export#team/data#pvc-${content}#archive`);
      writeFileSync(at('team/data/file'), content);
      await remove(id);
      await remove(id);
      t.notOk(existsSync(at('team/data')));
    }
    t.equal(readFileSync(at('archived-team/data/file'), 'utf8'), 'first');
    t.equal(readFileSync(at('archived-team/data-2/file'), 'utf8'), 'second');
  });

  t.test(
    `${name}: ids and folders outside of the share are refused, and unknown ids are no volumes`,
    async (t) => {
      mkdirSync(at('inside'));
      for (const subDir of ['../other', 'a/../../b', '/..', '', '.', '.csi-nfs-fuse/x']) {
        t.match(await removeFailure(`${server.host}#export/inside#${subDir}#pvc#`), {
          code: 'INVALID_ARGUMENT',
        });
        if (subDir === '') continue;
        t.match(await refused('out', { parameters: { ...parameters, subDir } }), {
          code: 'INVALID_ARGUMENT',
        });
      }
      t.match(await removeFailure(`${server.host}#export/../etc#x#pvc#`), { code: 'INVALID_ARGUMENT' });
      t.ok(existsSync(at('inside')));
      for (const id of ['nothing', 'a/b/c', 'a#b', 'a#b#c#d#burn', 'a#b#c#d#delete#f'])
        t.same(await remove(id), {});
      t.match(await removeFailure(''), { code: 'INVALID_ARGUMENT' });
    },
  );

  t.test(`${name}: something else in the place of a folder is refused`, async (t) => {
    writeFileSync(at('file'), '');
    symlinkSync('inside', at('symlink'));
    for (const subDir of ['file', 'symlink', 'symlink/x'])
      t.match(await refused('pvc-4', { parameters: { ...parameters, subDir } }), {
        code: 'FAILED_PRECONDITION',
        details: /it exists, and is no folder/,
      });
    t.match(await removeFailure(`${server.host}#export#file#pvc#`), { code: 'FAILED_PRECONDITION' });
    t.ok(lstatSync(at('file')).isFile());
  });

  t.test(`${name}: what cannot be had is refused, in the words of the command line`, async (t) => {
    const with_ = (change: object) => ({ parameters: { ...parameters, ...change } });
    const cases: [object, RegExp][] = [
      [{ name: '' }, /no name/],
      [{ name: 'x'.repeat(129) }, /at most 128 bytes/],
      [{ name: 'a\nb' }, /no control characters/],
      [{ name: 'a#b' }, /has the character "#"/],
      [{ volume_capabilities: [] }, /no capability/],
      [{ volume_capabilities: [{ block: {}, access_mode: { mode: 1 } }] }, /block volume is not possible/],
      [{ volume_capabilities: [{ mount: {} }] }, /access mode 0 is unknown/],
      [{ volume_capabilities: [capability(['hrad'])] }, /option "hrad" is unknown. Did you mean "hard"/],
      [{ volume_capabilities: [capability(['vers=4.1'])] }, /speaks only NFSv3/],
      [{ volume_capabilities: [capability(['bg'])] }, /"bg" is not for volumes/],
      [{ volume_content_source: { volume: { id: 'x' } } }, /cannot be made from another one/],
      [{ mutable_parameters: { iops: '1' } }, /no parameters that can be changed/],
      [{ parameters: { server: server.host } }, /share is a required parameter/],
      [{ parameters: { share: '/export' } }, /server is a required parameter/],
      [with_({ subDirectory: 'x' }), /parameter "subDirectory" is unknown/],
      [with_({ onDelete: 'burn' }), /not one of delete, retain, archive/],
      [with_({ mountPermissions: '999' }), /no octal number/],
      [with_({ server: 'two words' }), /where the server's name should be/],
    ];
    for (const [change, details] of cases)
      t.match(await refused('pvc-5', change), { code: 'INVALID_ARGUMENT', details });
    t.notOk(existsSync(at('pvc-5')));
  });

  t.test(`${name}: capabilities are confirmed of volumes that are there`, async (t) => {
    const { volume_id: id } = await create('valid');
    const validate = (volume: string, capabilities: object[]) => ({
      volume_id: volume,
      volume_capabilities: capabilities,
    });
    const ask = (asked: object) => driver.client.call('Controller', 'ValidateVolumeCapabilities', asked);
    const fails = (asked: object) => driver.client.failure('Controller', 'ValidateVolumeCapabilities', asked);
    t.match(await ask(validate(id, [capability()])), {
      confirmed: { volume_capabilities: [{ access_mode: { mode: 5 } }] },
    });
    t.match(await ask(validate(id, [{ block: {}, access_mode: { mode: 1 } }])), {
      confirmed: null,
      message: /block/,
    });
    t.match(await fails(validate(`${id.replace('valid', 'gone')}`, [capability()])), { code: 'NOT_FOUND' });
    t.match(await fails(validate('nothing', [capability()])), { code: 'NOT_FOUND' });
    t.match(await fails(validate(id, [])), { code: 'INVALID_ARGUMENT' });
    t.match(await fails(validate('', [capability()])), { code: 'INVALID_ARGUMENT' });
    await remove(id);
  });

  t.test(`${name}: the free space is the server's, and growing a volume needs nothing`, async (t) => {
    const capacity = (asked: object) => driver.client.call('Controller', 'GetCapacity', asked);
    const { available_capacity: free } = await capacity({ parameters });
    const { bsize, blocks } = statfsSync(server.directory);
    t.ok(Number(free) > 0 && Number(free) <= bsize * blocks, String(free));
    t.match(await capacity({}), { available_capacity: '0' });
    const expand = { volume_id: 'a#b#c##', capacity_range: { required_bytes: GIBIBYTE } };
    t.same(await driver.client.call('Controller', 'ControllerExpandVolume', expand), {
      capacity_bytes: String(GIBIBYTE),
      node_expansion_required: false,
    });
    const fails = (asked: object) => driver.client.failure('Controller', 'ControllerExpandVolume', asked);
    t.match(await fails({ ...expand, volume_id: '' }), { code: 'INVALID_ARGUMENT' });
    t.match(await fails({ volume_id: 'a#b#c##' }), { code: 'INVALID_ARGUMENT' });
    t.match(await fails({ ...expand, volume_id: 'nothing' }), { code: 'NOT_FOUND' });
  });

  t.test(`${name}: a hundred calls at once`, async (t) => {
    const names = Array.from({ length: 100 }, (_, index) => `many-${index}`);
    const volumes = await Promise.all(names.map((volume) => create(volume)));
    t.equal(readdirSync(server.directory).filter((entry) => entry.startsWith('many-')).length, 100);
    await Promise.all(volumes.map(({ volume_id: id }) => remove(id)));
    t.equal(readdirSync(server.directory).filter((entry) => entry.startsWith('many-')).length, 0);
  });

  t.test(`${name}: an export that is not there is not found`, async (t) => {
    const failure = await refused('pvc-6', { parameters: { ...parameters, share: '/nowhere' } });
    t.match(failure, { code: /NOT_FOUND|PERMISSION_DENIED/, details: /\/nowhere/ });
  });
}

t.test('mount options come from the secrets where a call has no others', async (t) => {
  const [server] = servers.values();
  if (server === undefined) throw new Error('no server');
  const driver = await Driver.start(t, place, ['--controller']);
  const secrets = { mountOptions: server.mountOptions.join(',') };
  const parameters = { server: server.host, share: server.exportPath };
  const asked = { name: 'secret', parameters, volume_capabilities: [capability()], secrets };
  const { volume } = await driver.client.call('Controller', 'CreateVolume', asked);
  const { volume_id: id } = volume as Volume;
  t.ok(existsSync(join(server.directory, 'secret')));
  await driver.client.call('Controller', 'DeleteVolume', { volume_id: id, secrets });
  t.notOk(existsSync(join(server.directory, 'secret')));
  t.match(await driver.client.failure('Controller', 'DeleteVolume', { volume_id: id }), {
    code: 'UNAVAILABLE',
    details: /refuses connections/,
  });
});

t.test('a server that does not answer delays no other one, and its calls end in time', async (t) => {
  const dead = untilEnd(t, await Ganesha.start());
  const [living] = servers.values();
  if (living === undefined) throw new Error('no server');
  const driver = await Driver.start(t, place, ['--controller']);
  const { client } = driver;
  const asked = (source: MountSource, volume: string) => ({
    name: volume,
    parameters: { server: source.host, share: source.exportPath },
    volume_capabilities: [capability(source.mountOptions)],
  });
  dead.freeze(true);
  const waiting = client.failure('Controller', 'CreateVolume', asked(dead, 'late'), 4_000);
  await client.call('Controller', 'CreateVolume', asked(living, 'quick'));
  t.match(await client.failure('Controller', 'CreateVolume', asked(dead, 'late')), { code: 'ABORTED' });
  t.match(await waiting, { code: 'DEADLINE_EXCEEDED' });
  dead.freeze(false);
  await until('the next attempt goes on', async () => {
    const failure = await client
      .call('Controller', 'CreateVolume', asked(dead, 'late'))
      .catch((error: unknown) => error);
    if (failure instanceof Error && !/still at work/.test(failure.message)) throw failure;
    return !(failure instanceof Error);
  });
  t.ok(existsSync(join(dead.directory, 'late')));
});

t.test('the driver tells who it is', async (t) => {
  const both = await Driver.start(t, place, ['--node-id', 'node7', '--driver-name', 'nfs.example.org']);
  t.match(await both.client.call('Identity', 'GetPluginInfo'), {
    name: 'nfs.example.org',
    vendor_version: /^\d/,
  });
  t.same(await both.client.call('Identity', 'Probe'), { ready: { value: true } });
  t.match(await both.client.call('Identity', 'GetPluginCapabilities'), {
    capabilities: [{ service: { type: 1 } }, { volume_expansion: { type: 1 } }],
  });
  const { capabilities } = await both.client.call('Controller', 'ControllerGetCapabilities');
  t.same(
    capabilities,
    [1, 4, 9, 13].map((type) => ({ rpc: { type } })),
  );
  t.match(await both.client.call('Node', 'NodeGetInfo'), { node_id: 'node7' });
  const node = await Driver.start(t, place, ['--node', '--node-id', 'node7']);
  t.match(await node.client.call('Identity', 'GetPluginCapabilities'), { capabilities: [] });
  t.match(await node.client.failure('Controller', 'CreateVolume', {}), { code: 'UNIMPLEMENTED' });
});
