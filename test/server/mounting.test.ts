/** The MOUNT side of the server, and its start. */
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { DUMP, EXPORT, MNT, UMNT, UMNTALL } from '../../lib/programs/mount3/procedures.js';
import { MountStatus } from '../../lib/programs/mount3/types.js';
import * as nfs from '../../lib/programs/nfs3/index.js';
import { RpcClient } from '../../lib/rpc/client/client.js';
import { EmbeddedServer } from '../../lib/server/index.js';
import { untilEnd } from '../support/until-end.js';
import { NOBODY, ok, rig, scratch, statusOf, user } from './support/rig.js';

t.test('the directory is mounted by the name of the export, by its own path, and as "/"', async (t) => {
  const r = await rig(t, { exportName: '/data/one' });
  for (const path of ['/data/one', '/data/one/', '//data//one', '/', '', r.folder]) {
    t.equal(await r.mount(path), r.root, path);
  }
  const exports = await r.call(EXPORT, undefined);
  t.same(
    exports.map((entry) => entry.directory.toString()),
    ['/data/one'],
  );
});

t.test('directories below the export can be mounted, other objects not', async (t) => {
  const r = await rig(t);
  mkdirSync(join(r.folder, 'a/b'), { recursive: true });
  const odd = Buffer.from([0xff, 0x20]);
  mkdirSync(Buffer.concat([Buffer.from(`${r.folder}/`), odd]));
  writeFileSync(join(r.folder, 'file'), '');
  symlinkSync('a', join(r.folder, 'link'));
  t.equal(await r.mount('/export/a/b'), await r.find('a/b'));
  t.equal(await r.mount('/a/b'), await r.find('a/b'));
  const status = async (path: string | Buffer) => (await r.call(MNT, Buffer.from(path))).status;
  t.equal(await status(Buffer.concat([Buffer.from('/export/'), odd])), MountStatus.OK);
  t.equal(await status('/export/missing'), MountStatus.NOENT);
  t.equal(await status('/export/file'), MountStatus.NOTDIR);
  t.equal(await status('/export/link'), MountStatus.NOTDIR);
  t.equal(await status('/export/file/x'), MountStatus.NOTDIR);
  t.equal(await status(`/export/${'n'.repeat(300)}`), MountStatus.NAMETOOLONG);
});

t.test('a directory is mounted only by those who may look it up', async (t) => {
  const r = await rig(t);
  mkdirSync(join(r.folder, 'private/open'), { recursive: true });
  chmodSync(r.folder, 0o755);
  chmodSync(join(r.folder, 'private'), 0o700);
  const mount = async (path: string, as = user(1001)) => (await r.call(MNT, Buffer.from(path), as)).status;
  t.equal(await mount('/export/private'), MountStatus.OK, 'the way to it is open, it is not');
  t.equal(await mount('/export/private/open'), MountStatus.ACCES);
  t.equal(await mount('/export/private/missing'), MountStatus.ACCES);
  t.equal(await mount('/export/private/open', user(0)), MountStatus.OK);
  const squashing = await rig(t, { rootSquash: true }, r.folder);
  const squashed = await squashing.call(MNT, Buffer.from('/export/private/open'), user(0));
  t.equal(squashed.status, MountStatus.ACCES);
});

t.test(
  'the server with reservedPortsOnly neither answers nor carries out calls from other ports',
  async (t) => {
    const r = await rig(t, { reservedPortsOnly: true }, scratch(t), { resvport: true });
    const made = ok(await r.create('f', { mode: 0o666 }));
    const other = untilEnd(t, await RpcClient.connect({ host: '127.0.0.1', port: r.server.port }));
    const credential = user(1001);
    const mounted = await other.call(MNT, Buffer.from('/export'), { credential });
    t.equal(mounted.status, MountStatus.ACCES);
    const object = made.object ?? r.root;
    const results = {
      GETATTR: other.call(nfs.GETATTR, { object }, { credential }),
      READ: other.call(nfs.READ, { file: object, offset: 0, count: 1 }, { credential }),
      CREATE: other.call(
        nfs.CREATE,
        { where: r.at('g'), how: { mode: nfs.CreateMode.GUARDED, attributes: {} } },
        { credential },
      ),
      anonymous: other.call(nfs.GETATTR, { object }, { credential: NOBODY }),
    };
    for (const [name, result] of Object.entries(results)) {
      t.equal(await statusOf(result), 'NFS3ERR_PERM', name);
    }
    t.equal(await statusOf(r.lookup('g')), 'NFS3ERR_NOENT');
    await other.call(nfs.NULL, undefined, { credential });
  },
);

t.test('the list of mounts has every client with its directory, until it unmounts', async (t) => {
  const r = await rig(t);
  mkdirSync(join(r.folder, 'a'));
  await r.mount('/export/a');
  const dump = async () =>
    (await r.call(DUMP, undefined)).map(({ hostname, directory }) => `${hostname}:${directory}`).sort();
  t.same(await dump(), ['127.0.0.1:/export', '127.0.0.1:/export/a']);
  await r.call(UMNT, Buffer.from('/export/a'));
  t.same(await dump(), ['127.0.0.1:/export']);
  await r.call(UMNTALL, undefined);
  t.same(await dump(), []);
  const slashes = (count: number) => '/'.repeat(count);
  for (let i = 0; i < 1100; i++) await r.mount(`${slashes(1 + (i % 500))}export${slashes(i / 500)}`);
  t.equal((await dump()).length, 1024, 'and it does not grow for ever');
});

t.test('a wrong directory, name, limit or port ends start() with an error that names it', async (t) => {
  const folder = scratch(t);
  writeFileSync(join(folder, 'file'), '');
  const start = (options: Partial<Parameters<typeof EmbeddedServer.start>[0]>) =>
    EmbeddedServer.start({ path: folder, ...options });
  await t.rejects(start({ path: join(folder, 'missing') }), /cannot export .*missing.*no such directory/);
  await t.rejects(start({ path: join(folder, 'file') }), /cannot export .*file.*not a directory/);
  await t.rejects(start({ exportName: 'data' }), /begins with "\/", not "data"/);
  await t.rejects(start({ limits: { wtmax: 1 } }), /wtmax is a number of bytes from 512 to 4194304, not 1/);
  const first = untilEnd(t, await start({}));
  t.equal(first.address, '127.0.0.1');
  await t.rejects(start({ port: first.port }), { code: 'EADDRINUSE' });
});

t.test('a link as the directory to export is followed once, at the start', async (t) => {
  const folder = scratch(t);
  mkdirSync(join(folder, 'real'));
  symlinkSync('real', join(folder, 'link'));
  const r = await rig(t, {}, join(folder, 'link'));
  t.equal((await r.create('f')).status, nfs.Status.OK);
  t.equal((await r.lookup('f', await r.mount(), user(0))).status, nfs.Status.OK);
});
