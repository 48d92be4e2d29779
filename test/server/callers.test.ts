/** Identities that the kernel does not take, and root's, which is squashed in all its forms. */

import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { MNT } from '../../lib/programs/mount3/procedures.js';
import { MountStatus } from '../../lib/programs/mount3/types.js';
import * as nfs from '../../lib/programs/nfs3/index.js';
import { fileNameFromText as named } from '../../lib/programs/nfs3/index.js';
import type { Credential } from '../../lib/rpc/auth/credential.js';
import { RpcClient } from '../../lib/rpc/client/client.js';
import { ServeCommand } from '../support/embedded.js';
import { openIdRangePlace } from '../support/id-range-place.js';
import { untilEnd } from '../support/until-end.js';
import { made, ok, type Rig, ROOT, rig, scratch, statusOf, user } from './support/rig.js';

const NO_ID = 0xffff_ffff;

/** Every procedure with arguments that make sense for `f`, by its name. */
function everything(
  r: Rig,
  object: nfs.FileHandle,
  as: Credential,
): Record<string, Promise<{ status: number }>> {
  const attributes = { mode: 0o4777 };
  const where = r.at('new');
  const device = { type: nfs.FileType.CHR, attributes, rdevMajor: 1, rdevMinor: 3 } as const;
  const page = { directory: r.root, cookie: 0n, cookieVerifier: Buffer.alloc(8) };
  return {
    GETATTR: r.call(nfs.GETATTR, { object }, as),
    SETATTR: r.call(nfs.SETATTR, { object, attributes, guard: undefined }, as),
    truncating: r.call(nfs.SETATTR, { object, attributes: { size: 0n }, guard: undefined }, as),
    LOOKUP: r.lookup('f', r.root, as),
    ACCESS: r.call(nfs.ACCESS, { object, access: 0x3f }, as),
    READ: r.read(object, 0, 10, as),
    WRITE: r.write(object, 0, 'mine', nfs.StableHow.FILE_SYNC, as),
    COMMIT: r.call(nfs.COMMIT, { file: object, offset: 0, count: 0 }, as),
    CREATE: r.create('new', attributes, as),
    MKDIR: r.call(nfs.MKDIR, { where, attributes }, as),
    SYMLINK: r.call(nfs.SYMLINK, { where, attributes: {}, target: Buffer.from('f') }, as),
    MKNOD: r.call(nfs.MKNOD, { where, what: device }, as),
    LINK: r.call(nfs.LINK, { file: object, link: where }, as),
    RENAME: r.call(nfs.RENAME, { from: r.at('f'), to: where }, as),
    REMOVE: r.call(nfs.REMOVE, r.at('f'), as),
    RMDIR: r.call(nfs.RMDIR, r.at('d'), as),
    READDIR: r.call(nfs.READDIR, { ...page, count: 4096 }, as),
    READDIRPLUS: r.call(nfs.READDIRPLUS, { ...page, dircount: 4096, maxcount: 4096 }, as),
  };
}

t.test('a uid, gid or group that cannot be set is refused, and never root', async (t) => {
  const r = await rig(t);
  chmodSync(r.folder, 0o777);
  mkdirSync(join(r.folder, 'd'));
  writeFileSync(join(r.folder, 'f'), 'secret', { mode: 0o600 });
  const file = await r.find('f');
  for (const [what, credential] of Object.entries({
    uid: user(NO_ID),
    gid: user(1001, NO_ID),
    'gid of root': user(0, NO_ID),
    group: user(1001, 1001, [7, NO_ID]),
  })) {
    for (const [name, result] of Object.entries(everything(r, file, credential))) {
      t.equal(await statusOf(result), 'NFS3ERR_ACCES', `${name} with ${what} 4294967295`);
    }
  }
  t.same(readdirSync(r.folder).sort(), ['d', 'f']);
  t.equal(readFileSync(join(r.folder, 'f'), 'utf8'), 'secret');
  t.equal(statSync(join(r.folder, 'f')).mode & 0o7777, 0o600);
  t.equal((await r.call(MNT, Buffer.from('/export'), user(NO_ID))).status, MountStatus.ACCES);
  t.match(ok(await r.create('after', {}, user(1001))).attributes, { uid: 1001 }, 'others are as before');
  writeFileSync(join(r.folder, 'own'), '');
  t.equal(statSync(join(r.folder, 'own')).uid, 0, 'and so is the server');
});

t.test('in a user namespace, ids that it has no number for are refused', async (t) => {
  const place = untilEnd(t, await openIdRangePlace());
  const server = untilEnd(t, await ServeCommand.start(place));
  chmodSync(server.directory, 0o777);
  writeFileSync(join(server.directory, 'unmapped'), 'secret', { mode: 0o600 });
  const client = untilEnd(t, await RpcClient.connect({ host: server.host, port: server.port }));
  const mounted = await client.call(MNT, Buffer.from('/export'), { credential: ROOT });
  if (mounted.status !== MountStatus.OK) throw new Error(`MNT is refused: ${mounted.status}`);
  const directory = mounted.grant.handle;
  const create = (name: string, credential: Credential) => {
    const how = { mode: nfs.CreateMode.GUARDED, attributes: { mode: 0o644 } } as const;
    return client.call(nfs.CREATE, { where: { directory, name: named(name) }, how }, { credential });
  };
  t.match(ok(await create('mapped', user(1001))).attributes, { uid: 1001, gid: 1001 });
  t.equal(await statusOf(create('uid', user(70_000, 1001))), 'NFS3ERR_ACCES');
  t.equal(await statusOf(create('gid', user(1001, 70_000))), 'NFS3ERR_ACCES');
  t.equal(await statusOf(create('group', user(1001, 1001, [70_000]))), 'NFS3ERR_ACCES');
  t.same(readdirSync(server.directory).sort(), ['mapped', 'unmapped']);
  // Everybody without a number shows as 65534: that does not make 65534 their owner.
  const nobody = user(65_534);
  const where = { directory, name: nfs.fileNameFromText('unmapped') };
  const { object, attributes } = ok(await client.call(nfs.LOOKUP, where, { credential: nobody }));
  t.equal(attributes?.uid, 65_534);
  const read = client.call(nfs.READ, { file: object, offset: 0, count: 10 }, { credential: nobody });
  t.equal(await statusOf(read), 'NFS3ERR_ACCES');
});

t.test('squashing root squashes its group too, wherever it is named', async (t) => {
  const r = await rig(t, { rootSquash: true, anonymousUid: 4000, anonymousGid: 4001 });
  chmodSync(r.folder, 0o777);
  for (const mode of [0o660, 0o640]) {
    writeFileSync(join(r.folder, `group${mode}`), 'secret');
    chmodSync(join(r.folder, `group${mode}`), mode);
  }
  const [writable, readable] = [await r.find(`group${0o660}`), await r.find(`group${0o640}`)];
  for (const as of [user(1001, 0), user(1001, 1001, [0]), user(1001, 1001, [5, 0, 7])]) {
    t.equal(await statusOf(r.read(readable, 0, 10, as)), 'NFS3ERR_ACCES');
    t.equal(await statusOf(r.write(writable, 0, 'x', undefined, as)), 'NFS3ERR_ACCES');
  }
  t.match(ok(await r.create('f', {}, user(1001, 0))).attributes, { uid: 1001, gid: 4001 });
  chownSync(join(r.folder, `group${0o640}`), 0, 7);
  ok(await r.read(readable, 0, 10, user(1001, 0, [0, 7])));
  const unsquashed = await rig(t, { rootSquash: false }, r.folder);
  ok(
    await unsquashed.write(await unsquashed.find(`group${0o660}`), 0, 'x', undefined, user(1001, 1001, [0])),
  );
});

t.test('an owner with an impossible id is refused, not ignored', async (t) => {
  const r = await rig(t);
  const object = made(await r.create('f', { uid: 5, gid: 6 }));
  for (const attributes of [{ uid: NO_ID }, { gid: NO_ID }, { uid: 7, gid: NO_ID }]) {
    t.equal(await statusOf(r.call(nfs.SETATTR, { object, attributes, guard: undefined })), 'NFS3ERR_INVAL');
    t.equal(await statusOf(r.create('g', attributes)), 'NFS3ERR_INVAL');
  }
  t.match(await r.attributes(object), { uid: 5, gid: 6 });
  t.equal(await statusOf(r.lookup('g')), 'NFS3ERR_NOENT');
});

t.test('a server that cannot act as others does not promise to squash them', async (t) => {
  const folder = scratch(t);
  chownSync(folder, 3456, 3456);
  const { seteuid, setegid } = process;
  if (seteuid === undefined || setegid === undefined) throw new Error('no seteuid here');
  setegid.call(process, 3456);
  seteuid.call(process, 3456);
  t.teardown(() => {
    seteuid.call(process, 0);
    setegid.call(process, 0);
  });
  for (const options of [{ rootSquash: true }, { allSquash: true }, { anonymousUid: 5 }]) {
    await t.rejects(rig(t, options, folder), /callers cannot be squashed: this process \(uid 3456\)/);
  }
  t.equal((await rig(t, { rootSquash: false }, folder)).server.impersonating, false);
});
