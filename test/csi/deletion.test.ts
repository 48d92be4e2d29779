/** The end of volumes: an id, whoever has written it, removes its own volume and no other one; and the notes that tell them apart. */
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { Ganesha } from '../support/ganesha.js';
import type { MountSource } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { type Answer, capability, Driver } from './support/csi-client.js';

const GIBIBYTE = 2 ** 30;
const LONGEST_NAME = 255;
const place = untilEnd(t, await openPlace('root'));

type Server = MountSource & { readonly directory: string };
const servers: ReadonlyMap<string, Server> = new Map<string, Server>([
  ['the embedded server', untilEnd(t, await ServeCommand.start(place))],
  ['nfs-ganesha', untilEnd(t, await Ganesha.start())],
]);

for (const [name, server] of servers) {
  const driver = await Driver.start(t, place, ['--controller', '-o', server.mountOptions.join(',')]);
  const at = (path: string) => join(server.directory, path);
  const parameters = { server: server.host, share: server.exportPath };
  const id = (rest: string) => `${server.host}#export#${rest}`;
  const request = (volume: string, own: object, change: object) => ({
    name: volume,
    volume_capabilities: [capability()],
    parameters: { ...parameters, ...own },
    ...change,
  });
  const create = async (volume: string, own: object = {}, change: object = {}): Promise<string> => {
    const asked = request(volume, own, change);
    const answer = await driver.client.call('Controller', 'CreateVolume', asked);
    return (answer.volume as { readonly volume_id: string }).volume_id;
  };
  const refused = (volume: string, own: object = {}, change: object = {}) =>
    driver.client.failure('Controller', 'CreateVolume', request(volume, own, change));
  const remove = (volume: string, change: object = {}): Promise<Answer> =>
    driver.client.call('Controller', 'DeleteVolume', { volume_id: volume, ...change });
  const removeFailure = (volume: string) =>
    driver.client.failure('Controller', 'DeleteVolume', { volume_id: volume });

  t.test(`${name}: a volume does not go with the folder of another one in it`, async (t) => {
    const outer = await create('outer', { subDir: 'nest' });
    const inner = await create('inner', { subDir: 'nest/in/inner' });
    writeFileSync(at('nest/in/inner/file'), 'stays');
    for (const wrong of [outer, `${outer}archive`, id('nest##'), id('nest/in##'), id('nest#forged#')])
      t.match(
        await removeFailure(wrong),
        {
          code: 'FAILED_PRECONDITION',
          details: /Below nest.* is nest\/in\/inner, the folder of another volume. Delete that first/,
        },
        wrong,
      );
    t.equal(readFileSync(at('nest/in/inner/file'), 'utf8'), 'stays');
    await remove(inner);
    await remove(outer);
    t.notOk(existsSync(at('nest')));
  });

  t.test(`${name}: the note of a folder that is gone stands in nobody's way`, async (t) => {
    await create('lost', { subDir: 'old/lost' });
    await remove(await create('twin', { subDir: 'old/lost' }));
    t.ok(lstatSync(at('.csi-nfs-fuse/lost')).isSymbolicLink());
    await remove(id('old##'));
    t.notOk(existsSync(at('old')));
  });

  t.test(`${name}: an id with the name of a volume and another folder removes nothing`, async (t) => {
    const own = await create('noted', { subDir: 'its/own' });
    mkdirSync(at('precious'));
    t.match(await removeFailure(id('precious#noted#')), {
      code: 'FAILED_PRECONDITION',
      details: /not precious by its note.*\.csi-nfs-fuse\/noted on the server/,
    });
    t.ok(existsSync(at('precious')));
    await remove(id('precious#noted#retain'));
    t.ok(lstatSync(at('.csi-nfs-fuse/noted')).isSymbolicLink(), 'the note is another volume’s');
    t.match(await refused('noted', { subDir: 'elsewhere' }), {
      code: 'ALREADY_EXISTS',
      details: /whose folder is its\/own/,
    });
    t.notOk(existsSync(at('elsewhere')));
    await remove(own);
    t.notOk(existsSync(at('its/own')));
  });

  t.test(`${name}: a folder that is the share of other volumes is not removed`, async (t) => {
    mkdirSync(at('around/sharing'), { recursive: true });
    await create('deep', { share: `${server.exportPath}/around/sharing` });
    writeFileSync(at('around/sharing/deep/file'), 'stays');
    for (const wrong of ['around/sharing##', 'around/sharing##archive', 'around##'])
      t.match(await removeFailure(id(wrong)), { code: 'FAILED_PRECONDITION', details: /it is a share/ });
    t.equal(readFileSync(at('around/sharing/deep/file'), 'utf8'), 'stays');
  });

  t.test(`${name}: a volume without a note is removed all the same`, async (t) => {
    mkdirSync(at('of-another-driver/deep'), { recursive: true });
    await remove(id('of-another-driver#pvc-old#'));
    t.notOk(existsSync(at('of-another-driver')));
  });

  t.test(`${name}: the name of a volume whose folder stays is free`, async (t) => {
    const sized = (bytes: number) => ({ capacity_range: { required_bytes: bytes } });
    const retained = { onDelete: 'retain' };
    const volume = await create('kept', retained, sized(2 * GIBIBYTE));
    t.equal(readlinkSync(at('.csi-nfs-fuse/kept')), 'bytes=2147483648&name=kept&folder=kept');
    writeFileSync(at('kept/file'), 'stays');
    await remove(volume);
    t.equal(await create('kept', retained, sized(3 * GIBIBYTE)), volume);
    t.equal(readFileSync(at('kept/file'), 'utf8'), 'stays');
  });

  t.test(`${name}: a folder with a long name is put aside under a shorter one`, async (t) => {
    const subDir = `${'ä'.repeat(125)}/${'ö'.repeat(127)}`;
    for (const content of ['first', 'second']) {
      const volume = await create(`long-${content}`, { subDir, onDelete: 'archive' });
      writeFileSync(at(`${subDir}/file`), content);
      await remove(volume);
      t.notOk(existsSync(at(subDir)));
    }
    const [folder = '', ...more] = readdirSync(server.directory).filter((one) =>
      one.startsWith('archived-ä'),
    );
    t.same(more, []);
    t.ok(Buffer.byteLength(folder) <= LONGEST_NAME);
    const archives = readdirSync(at(folder)).sort();
    t.equal(archives.length, 2);
    t.same(archives.map((one) => readFileSync(at(`${folder}/${one}/file`), 'utf8')).sort(), [
      'first',
      'second',
    ]);
  });

  t.test(`${name}: an id is never longer than CSI allows, and longer ones are taken`, async (t) => {
    const subDir = 'some-namespace/some-claim-of-a-stateful-set-with-a-rather-long-name-0';
    const [claim, longest] = [`pvc-${'0'.repeat(36)}`, 'n'.repeat(128)];
    const made = await create(claim, { subDir, onDelete: 'archive' });
    t.equal(made, id(`.csi-nfs-fuse/${claim}##archive`));
    t.equal(await create(claim, { subDir, onDelete: 'archive' }), made);
    const asked = { volume_id: made, volume_capabilities: [capability()] };
    t.match(await driver.client.call('Controller', 'ValidateVolumeCapabilities', asked), { confirmed: {} });
    writeFileSync(at(`${subDir}/file`), 'content');
    await remove(made);
    t.equal(readFileSync(at(`archived-${subDir}/file`), 'utf8'), 'content');
    await remove(made);
    t.match(await driver.client.failure('Controller', 'ValidateVolumeCapabilities', asked), {
      code: 'NOT_FOUND',
    });
    const named = await create(longest);
    t.ok(Buffer.byteLength(named) <= 128, named);
    t.ok(existsSync(at(longest)));
    await remove(named);
    t.notOk(existsSync(at(longest)));
    await create(longest, { subDir });
    await remove(id(`${subDir}#${longest}#`));
    t.notOk(existsSync(at(subDir)), 'by an id that an earlier driver has made');
  });

  t.test(`${name}: a folder too deep to be mounted is not made`, async (t) => {
    const subDir = Array.from({ length: 5 }, () => 'x'.repeat(250)).join('/');
    t.match(await refused('deep', { subDir }), { code: 'INVALID_ARGUMENT', details: /NFS allows 1024/ });
    t.notOk(existsSync(at('x'.repeat(250))));
  });

  t.test(`${name}: volumes do without notes where their folder is another user's, or is none`, async (t) => {
    mkdirSync(at('barred'));
    writeFileSync(at('barred/.csi-nfs-fuse'), '');
    mkdirSync(at('foreign/.csi-nfs-fuse'), { recursive: true, mode: 0o700 });
    chownSync(at('foreign/.csi-nfs-fuse'), 4321, 4321);
    for (const folder of ['barred', 'foreign']) {
      chmodSync(at(folder), 0o777);
      const secrets = { mountOptions: 'uid=1234,gid=1234' };
      const own = { share: `${server.exportPath}/${folder}` };
      t.match(await refused('unnoted', { ...own, subDir: 'x'.repeat(120) }, { secrets }), {
        code: 'INVALID_ARGUMENT',
        details: /longer than the 128 bytes.* takes no note of it. Write a shorter subDir/,
      });
      const byNote = { volume_id: `${server.host}#export/${folder}#.csi-nfs-fuse/x##`, secrets };
      t.match(await driver.client.failure('Controller', 'DeleteVolume', byNote), {
        code: /PERMISSION_DENIED|FAILED_PRECONDITION|INVALID_ARGUMENT/,
      });
      const sized = { capacity_range: { required_bytes: GIBIBYTE }, secrets };
      const volume = await create('unnoted', own, sized);
      t.ok(existsSync(at(`${folder}/unnoted`)));
      t.equal(await create('unnoted', own, sized), volume);
      await remove(volume, { secrets });
      t.notOk(existsSync(at(`${folder}/unnoted`)));
      const complaints = () => driver.log.split('\n').filter((line) => line.includes(`/${folder} forgets`));
      await until('the log tells', () => complaints().length > 0);
      t.equal(complaints().length, 1, 'the log tells once');
    }
  });

  t.test(`${name}: a refusal of the server comes with a remedy`, async (t) => {
    mkdirSync(at('closed'), { mode: 0o755 });
    const own = { share: `${server.exportPath}/closed` };
    t.match(await refused('shut-out', own, { secrets: { mountOptions: 'uid=1234,gid=1234' } }), {
      code: 'PERMISSION_DENIED',
      details: /The driver is uid 0 for the server unless uid= and gid= say otherwise.*no_root_squash/,
    });
    t.match(await refused('owned', { uid: '1000' }), {
      code: 'INVALID_ARGUMENT',
      details: /"uid" is not supported.*chown.*fsGroup/,
    });
  });
}

t.test('the end of a volume whose folder stays needs no server', async (t) => {
  const driver = await Driver.start(t, place, ['--controller']);
  const [server] = servers.values();
  t.same(
    await driver.client.call('Controller', 'DeleteVolume', {
      volume_id: `${server?.host}#nowhere#folder#pvc#retain`,
    }),
    {},
  );
  await until('the log tells', () => driver.log.includes('may have a note of pvc still'));
});
