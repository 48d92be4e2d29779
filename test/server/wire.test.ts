/** Every procedure of all programs, as an independent dissector reads it. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DUMP, EXPORT, MNT, UMNT, UMNTALL } from '../../lib/programs/mount3/procedures.js';
import * as nfs from '../../lib/programs/nfs3/index.js';
import { Capture, type Trace } from '../support/capture.js';
import { LockClient, type LockOptions } from './support/lock-clients.js';
import { all, made, ok, rig, user } from './support/rig.js';

t.test('an independent dissector finds nothing malformed in the replies', async (t) => {
  const r = await rig(t);
  const capture = await Capture.start([r.server.port]);
  for (let i = 0; i < 300; i++) writeFileSync(join(r.folder, `file-${i}`), `${i}`);
  mkdirSync(join(r.folder, 'd'));
  symlinkSync('file-1', join(r.folder, 'link'));
  const attributes = { mode: 0o640, mtime: { seconds: 1, nanoseconds: 2 }, atime: 'server' } as const;
  const object = await r.find('file-1');
  const d = await r.find('d');
  const link = await r.find('link');
  const missing = nfs.fileHandleFromBytes(Buffer.alloc(40, 9));
  // Each that can, both as it succeeds and as it fails.
  for (const handle of [object, missing]) {
    await r.call(nfs.NULL, undefined);
    await r.call(nfs.GETATTR, { object: handle });
    await r.call(nfs.SETATTR, { object: handle, attributes, guard: undefined });
    await r.call(nfs.SETATTR, { object: handle, attributes, guard: { seconds: 1, nanoseconds: 1 } });
    await r.call(nfs.ACCESS, { object: handle, access: 0x3f }, user(1, 2, [3, 4]));
    for (const count of [1, 2, 3, 4, 5]) await r.read(handle, 0, count);
    for (const text of ['1', '22', '333', '4444'.repeat(3000)]) await r.write(handle, 0, text);
    await r.call(nfs.COMMIT, { file: handle, offset: 0, count: 0 });
    await r.call(nfs.FSSTAT, { object: handle });
    await r.call(nfs.FSINFO, { object: handle });
    await r.call(nfs.PATHCONF, { object: handle });
    await r.call(nfs.LINK, { file: handle, link: r.at('hard') });
    await r.call(nfs.READLINK, { symlink: handle === object ? link : handle });
  }
  const times = ['first', 'again'];
  for (const _ of times) {
    for (const directory of [d, missing]) {
      const where = (name: string) => r.at(name, directory);
      await r.create('f', attributes, undefined, directory);
      const how = { mode: nfs.CreateMode.EXCLUSIVE, verifier: Buffer.alloc(8, 1) } as const;
      await r.call(nfs.CREATE, { where: where('exclusive'), how });
      await r.call(nfs.MKDIR, { where: where('sub'), attributes });
      await r.call(nfs.SYMLINK, { where: where('l'), attributes: {}, target: Buffer.from('any') });
      const fifo = { type: nfs.FileType.FIFO, attributes } as const;
      await r.call(nfs.MKNOD, { where: where('fifo'), what: fifo });
      const device = { type: nfs.FileType.BLK, attributes, rdevMajor: 7, rdevMinor: 1 } as const;
      await r.call(nfs.MKNOD, { where: where('device'), what: device });
      await r.lookup('f', directory);
      await r.call(nfs.RENAME, { from: where('f'), to: where('g') });
    }
  }
  for (const name of ['g', 'exclusive', 'l', 'fifo', 'device', 'none'])
    await r.call(nfs.REMOVE, r.at(name, d));
  for (const name of ['sub', 'none']) await r.call(nfs.RMDIR, r.at(name, d));
  t.equal((await all(r.list())).length, 303);
  t.equal((await all(r.listPlus())).length, 303);
  const page = { directory: missing, cookie: 5n, cookieVerifier: Buffer.alloc(8) };
  await r.call(nfs.READDIR, { ...page, count: 4096 });
  await r.call(nfs.READDIRPLUS, { ...page, dircount: 4096, maxcount: 4096 });
  r.server.faults.add({ omitAttributes: true, omitHandles: true, times: 2 });
  ok(await r.create('without attributes and handle'));
  ok(await r.call(nfs.SETATTR, { object, attributes, guard: undefined }));
  for (const path of ['/export', '/none']) await r.call(MNT, Buffer.from(path));
  await r.call(EXPORT, undefined);
  await r.call(DUMP, undefined);
  await r.call(UMNT, Buffer.from('/export'));
  await r.call(UMNTALL, undefined);
  const trace = await capture.finish();
  t.same(trace.complaints, []);
  t.same(
    [...trace.called('nfs')].sort((a, b) => a - b),
    [...Array(22).keys()],
  );
  t.same(
    [...trace.called('mount')].sort((a, b) => a - b),
    [1, 2, 3, 4, 5],
  );
  allAnswered(t, trace);
});

t.test('nothing of what the lock manager says is malformed', async (t) => {
  const r = await rig(t, { locks: { bounds: { held: 3, waiting: 9, heldByAll: 99, waitingOfAll: 9 } } });
  const file = made(await r.create('f'));
  const capture = await Capture.start([r.server.port]);
  const owner = (svid: number) => new LockClient(r.client, file, svid, 'name', '\xff'.repeat(9));
  const [a, b] = [owner(1), owner(-2)];
  const outcomes = new Set<unknown>();
  const ranges: LockOptions[] = [{}, { offset: 2n ** 63n - 1n, length: 1n }, { offset: 2n ** 64n - 1n }];
  for (const range of ranges) {
    for (const block of [false, true]) {
      for (const monitored of [false, true]) outcomes.add(await a.lock({ ...range, block, monitored }));
      outcomes.add(await b.lock({ ...range, block }));
      outcomes.add(typeof (await b.test({ ...range, shared: block })));
      outcomes.add(await b.cancel(range));
      outcomes.add(await b.lock({ ...range, reclaim: true }));
      outcomes.add(await a.unlock(range));
    }
  }
  for (const offset of [0n, 2n, 4n, 6n]) outcomes.add(await a.lock({ offset, length: 1n }));
  outcomes.add(await new LockClient(r.client, r.root, 3).lock());
  t.same(
    [...outcomes].sort(),
    'BLOCKED DENIED DENIED_GRACE_PERIOD DENIED_NOLOCKS FAILED FBIG GRANTED object string'.split(' '),
  );
  const trace = await capture.finish();
  t.same(trace.complaints, []);
  t.same(
    [...trace.called('nlm')].sort((a, b) => a - b),
    [1, 2, 3, 4, 22],
  );
  allAnswered(t, trace);
});

function allAnswered(t: Test, trace: Trace): void {
  const calls = trace.messages.filter(({ kind }) => kind === 'call');
  const answered = new Set(trace.messages.filter(({ kind }) => kind === 'reply').map(({ xid }) => xid));
  t.equal(calls.filter(({ xid }) => !answered.has(xid)).length, 0, 'every call has its reply');
}
