/** The faults that tests order from the server, and its counters: the test bed's own tests. */
import { connect } from 'node:net';
import t from 'tap';
import * as nfs from '../../lib/programs/nfs3/index.js';
import { RpcClient } from '../../lib/rpc/client/client.js';
import { RpcClosedError, RpcError } from '../../lib/rpc/rpc-errors.js';
import { TestCancellation } from '../rpc/support/procedures.js';
import { untilEnd } from '../support/until-end.js';
import { made, ok, ROOT, rig, statusOf } from './support/rig.js';

t.test('a status is answered as often as ordered, for the procedure and handle ordered', async (t) => {
  const r = await rig(t);
  const f = made(await r.create('f'));
  const g = made(await r.create('g'));
  const jukebox = { procedure: 'GETATTR', handle: f, status: nfs.Status.JUKEBOX, times: 2 } as const;
  const fault = r.server.faults.add(jukebox);
  t.equal(await r.probe(g), 'NFS3_OK');
  t.equal(await statusOf(r.read(f, 0, 1)), 'NFS3_OK');
  t.equal(await r.probe(f), 'NFS3ERR_JUKEBOX');
  t.equal(await r.probe(f), 'NFS3ERR_JUKEBOX');
  t.equal(await r.probe(f), 'NFS3_OK');
  t.equal(fault.hits, 2);
  const forever = r.server.faults.add({ status: nfs.Status.STALE, times: Number.POSITIVE_INFINITY });
  for (let i = 0; i < 3; i++) t.equal(await r.probe(r.root), 'NFS3ERR_STALE');
  forever.remove();
  t.equal(await r.probe(r.root), 'NFS3_OK');
  r.server.faults.add({ when: (args) => JSON.stringify(args).includes('never'), status: nfs.Status.IO });
  t.equal(await r.probe(r.root), 'NFS3_OK');
  r.server.faults.clear();
});

t.test('every procedure can be ordered to fail, with a reply that can be decoded', async (t) => {
  const r = await rig(t);
  const where = r.at('x');
  const object = r.root;
  const attributes = {};
  const page = { directory: r.root, cookie: 0n, cookieVerifier: Buffer.alloc(8) };
  r.server.faults.add({ status: nfs.Status.IO, times: Number.POSITIVE_INFINITY });
  const results = await Promise.all([
    r.call(nfs.GETATTR, { object }),
    r.call(nfs.SETATTR, { object, attributes, guard: undefined }),
    r.call(nfs.LOOKUP, where),
    r.call(nfs.ACCESS, { object, access: 1 }),
    r.call(nfs.READLINK, { symlink: object }),
    r.read(object, 0, 1),
    r.write(object, 0, 'x'),
    r.create('x'),
    r.call(nfs.MKDIR, { where, attributes }),
    r.call(nfs.SYMLINK, { where, attributes, target: Buffer.from('x') }),
    r.call(nfs.MKNOD, { where, what: { type: nfs.FileType.FIFO, attributes } }),
    r.call(nfs.REMOVE, where),
    r.call(nfs.RMDIR, where),
    r.call(nfs.RENAME, { from: where, to: where }),
    r.call(nfs.LINK, { file: object, link: where }),
    r.call(nfs.READDIR, { ...page, count: 4096 }),
    r.call(nfs.READDIRPLUS, { ...page, dircount: 4096, maxcount: 4096 }),
    r.call(nfs.FSSTAT, { object }),
    r.call(nfs.FSINFO, { object }),
    r.call(nfs.PATHCONF, { object }),
    r.call(nfs.COMMIT, { file: object, offset: 0, count: 0 }),
  ]);
  t.same(new Set(results.map(({ status }) => status)), new Set([nfs.Status.IO]));
  t.equal(Object.values(r.server.counters).filter((count) => count === 1).length, 21);
});

t.test('a call that is lost on order is not carried out; one whose reply is lost is', async (t) => {
  const r = await rig(t);
  for (const lose of ['call', 'reply'] as const) {
    r.server.faults.add({ procedure: 'CREATE', lose });
    const cancellation = new TestCancellation();
    const how = { mode: nfs.CreateMode.GUARDED, attributes: {} } as const;
    const args = { where: r.at(lose), how };
    const lost = r.client.call(nfs.CREATE, args, { credential: ROOT, cancellation });
    const outcome = lost.catch((error: unknown) => error);
    // Replies come in order of being carried out: with this one, the lost one would have come.
    ok(await r.create(`after ${lose}`));
    cancellation.cancel();
    t.ok((await outcome) instanceof RpcError);
  }
  t.equal(await statusOf(r.lookup('call')), 'NFS3ERR_NOENT');
  t.equal(await statusOf(r.lookup('reply')), 'NFS3_OK');
});

t.test(
  'a call repeated after its connection broke is answered from memory, unless there is none',
  async (t) => {
    for (const replayCache of [true, false]) {
      const r = await rig(t, { replayCache });
      const { port } = r.server;
      const client = untilEnd(t, await RpcClient.connect({ host: '127.0.0.1', port }));
      r.server.faults.add({ procedure: 'MKDIR', lose: 'connection' });
      const mkdir = { where: r.at('d'), attributes: {} };
      const { status } = await client.call(nfs.MKDIR, mkdir, { credential: ROOT });
      t.equal(status, replayCache ? nfs.Status.OK : nfs.Status.EXIST);
    }
  },
);

t.test('a call waits as long as ordered, and others pass it', async (t) => {
  const r = await rig(t);
  let release = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  r.server.faults.add({ procedure: 'GETATTR', wait: gate });
  const order: string[] = [];
  const slow = r.probe(r.root).then(() => order.push('slow'));
  await r.probe(r.root);
  order.push('fast');
  release();
  await slow;
  t.same(order, ['fast', 'slow']);
});

t.test('attributes and handles are left out on order, wherever the protocol allows', async (t) => {
  const r = await rig(t);
  made(await r.create('f'));
  const times = Number.POSITIVE_INFINITY;
  r.server.faults.add({ omitAttributes: true, omitHandles: true, times });
  const { attributes, directoryAttributes, object } = ok(await r.lookup('f'));
  t.same([attributes, directoryAttributes], [undefined, undefined]);
  t.ok(object, 'but LOOKUP always has a handle');
  const created = ok(await r.create('g'));
  t.same([created.object, created.attributes], [undefined, undefined]);
  t.same(created.directoryWcc, { before: undefined, after: undefined });
  t.ok((await r.attributes(r.root)).size, 'and GETATTR attributes');
  const args = {
    directory: r.root,
    cookie: 0n,
    cookieVerifier: Buffer.alloc(8),
    dircount: 512,
    maxcount: 4096,
  };
  for (const entry of ok(await r.call(nfs.READDIRPLUS, args)).entries) {
    t.same([entry.attributes, entry.handle], [undefined, undefined]);
  }
});

t.test('results are altered on order, so that the server lies about stable data', async (t) => {
  const r = await rig(t);
  const file = made(await r.create('f'));
  r.server.faults.add({
    procedure: 'WRITE',
    alter: (result) => ({ ...result, committed: nfs.StableHow.UNSTABLE }),
  });
  const { FILE_SYNC, UNSTABLE } = nfs.StableHow;
  t.equal(ok(await r.write(file, 0, 'x', FILE_SYNC)).committed, UNSTABLE);
  t.equal(ok(await r.write(file, 0, 'x', FILE_SYNC)).committed, FILE_SYNC);
});

t.test('reads and writes are cut short on order', async (t) => {
  const r = await rig(t);
  const file = made(await r.create('f'));
  r.server.faults.maxWrite = 3;
  t.equal(ok(await r.write(file, 0, 'abcdef')).count, 3);
  t.equal(ok(await r.write(file, 3, 'def')).count, 3);
  r.server.faults.maxRead = 2;
  const read = ok(await r.read(file, 0, 6));
  t.equal(Buffer.from(read.data).toString(), 'ab');
  t.equal(read.eof, false);
  t.equal(ok(await r.read(file, 4, 6)).eof, true);
  r.server.faults.clear();
  t.equal(await r.text(file), 'abcdef');
});

t.test('the write verifier changes on order', async (t) => {
  const r = await rig(t);
  const file = made(await r.create('f'));
  r.server.writeVerifier = 'verifier';
  t.equal(ok(await r.write(file, 0, 'x')).verifier, 'verifier');
  t.equal(ok(await r.call(nfs.COMMIT, { file, offset: 0, count: 0 })).verifier, 'verifier');
  t.throws(() => {
    r.server.writeVerifier = 'short';
  }, RangeError);
});

t.test('counters count the calls of each procedure', async (t) => {
  const r = await rig(t);
  r.server.resetCounters();
  for (let i = 0; i < 3; i++) await r.probe(r.root);
  await r.lookup('x');
  t.match(r.server.counters, { GETATTR: 3, LOOKUP: 1, READ: 0 });
  r.server.resetCounters();
  t.equal(r.server.counters.GETATTR, 0);
});

t.test('a server that is paused refuses, and answers again on the same port when it is back', async (t) => {
  const r = await rig(t);
  const { port } = r.server;
  const file = made(await r.create('f'));
  await r.server.pause();
  const refused = new Promise<NodeJS.ErrnoException>((resolve) => {
    connect(port, '127.0.0.1').once('error', resolve);
  });
  t.equal((await refused).code, 'ECONNREFUSED');
  const waiting = r.probe(file);
  await r.server.resume();
  t.equal(r.server.port, port);
  t.equal(await waiting, 'NFS3_OK', 'a call made meanwhile is answered');
});

t.test('close() ends the connections, and the calls that wait', async (t) => {
  const r = await rig(t);
  r.server.faults.add({ wait: new Promise(() => {}) });
  const outcome = r.probe(r.root).catch((error: unknown) => error);
  await r.server.close();
  r.client.close();
  t.ok((await outcome) instanceof RpcClosedError);
});

t.test('another directory is exported in place of this one', async (t) => {
  const r = await rig(t);
  const other = await rig(t);
  made(await other.create('there'));
  const old = r.root;
  r.server.reexport(other.folder);
  t.equal(await r.probe(old), 'NFS3ERR_STALE');
  const root = await r.mount();
  t.equal((await r.lookup('there', root)).status, nfs.Status.OK);
});
