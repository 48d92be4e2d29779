/** Attributes of a file that is being made: they go to the server with its data, and nobody sees that it was not at once. */

import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import type { EntryReply } from '../../../lib/fuse/contract/operations.js';
import { Status, type WriteArguments } from '../../../lib/programs/nfs3/index.js';
import { type Made, Mounted, MTIME, mounted, O_EXCL, ROOT, TIMES } from '../support/mounted.js';
import { O_RDONLY, O_RDWR, O_WRONLY, outcome, settled, TestContext } from '../support/rig.js';

const WHOLE = { mode: 0o640, uid: 5, gid: 6, mtime: MTIME };

t.test(
  'the attributes of an unpacked file cost one SETATTR, and are there when close(2) returns',
  async (t) => {
    const mount = await mounted();
    const { server } = mount;
    const made = await mount.unpack('f');
    t.equal(server.names(), 'CREATE', 'nothing has been asked for');
    await mount.close(made);
    t.equal(server.names(), 'CREATE WRITE SETATTR');
    t.match(server.tree.at('f'), WHOLE);
    t.equal(String(server.tree.at('f').stable), 'content');
  },
);

t.test('nothing is put off before the server has shown that it does what it is asked for', async (t) => {
  const mount = new Mounted();
  const made = await mount.unpack('f');
  t.equal(mount.server.names(), 'CREATE SETATTR WRITE SETATTR SETATTR', 'mode, times, and the owner');
  t.match(mount.server.tree.at('f'), { uid: 5, gid: 6, mtime: MTIME });
  await mount.close(made);
  t.equal(mount.server.tree.at('f').mode, 0o640);
});

t.test('a server that refuses or does something else is asked at once the next time', async (t) => {
  for (const odd of ['refuses', 'ignores'] as const) {
    const mount = await mounted();
    const { server } = mount;
    const end = server.on('SETATTR', (_args, execute) => {
      if (odd === 'refuses') return server.failure('SETATTR', Status.PERM);
      const reply = execute();
      const node = server.tree.at('f');
      node.uid = 0;
      return { ...reply, wcc: { ...reply.wcc, after: server.tree.attributes(node) } };
    });
    const made = await mount.unpack('f');
    t.equal(await outcome(mount.flush(made)), odd === 'refuses' ? Errno.EPERM : 'ok');
    end();
    server.forgetCalls();
    const next = await mount.create('g');
    await mount.set(next, { uid: 5 });
    t.equal(server.names(), 'CREATE SETATTR SETATTR', odd);
  }
});

for (const [what, config] of [
  ['noattrbehind', { attributesBehind: false }],
  ['sync', { sync: true }],
  ['noac', { attributeCache: false }],
  ['writebehind=0', { writeBehind: 0 }],
] as const)
  t.test(`${what}: each change is asked for at once`, async (t) => {
    const mount = await mounted(config);
    await mount.unpack('f');
    t.equal(mount.server.count('SETATTR'), 4);
  });

t.test('whoever looks at the file sees what the server says of it', async (t) => {
  const looks: Record<string, (mount: Mounted, made: Made) => Promise<unknown>> = {
    getattr: ({ fs, ctx }, { nodeid }) => fs.getattr(ctx, nodeid, undefined),
    access: ({ fs, ctx }, { nodeid }) => fs.access(ctx, nodeid, 4),
    open: ({ fs, ctx }, { nodeid }) => fs.open(ctx, nodeid, O_RDONLY),
    rename: ({ fs, ctx }) =>
      fs.rename(ctx, { parent: ROOT, name: Buffer.from('f') }, { parent: ROOT, name: Buffer.from('g') }, 0),
    link: ({ fs, ctx }, { nodeid }) => fs.link(ctx, nodeid, ROOT, Buffer.from('g')),
    fsync: ({ fs, ctx }, { nodeid, fh }) => fs.fsync(ctx, nodeid, fh),
    truncate: (mount, made) => mount.set(made, { size: 3n, fh: made.fh }),
    'a second write': (mount, made) => mount.write(made, 'again'),
    'a change by another user': (mount, made) => mount.set(made, { mode: 0o600 }, new TestContext(1000)),
    'set-user-id': (mount, made) => mount.set(made, { mode: 0o4755 }),
    'the time of the server': (mount, made) => mount.set(made, { mtime: 'now' }),
    sync: ({ fs }) => fs.writeBack(),
    unmount: ({ fs }) => fs.shutdown(),
    'the end of patience': async ({ clock }) => {
      clock.advance(20);
      await settled();
    },
  };
  for (const [look, act] of Object.entries(looks)) {
    const mount = await mounted();
    const { server } = mount;
    const made = await mount.unpack('f');
    const seen: unknown[] = [];
    for (const name of ['GETATTR', 'ACCESS', 'RENAME', 'LINK', 'SETATTR'])
      server.on(name, (args, execute) => {
        if (name !== 'SETATTR' || args.attributes.uid === undefined) seen.push({ ...server.tree.at('f') });
        return execute();
      });
    await act(mount, made);
    t.equal(server.named('SETATTR').filter(({ args }) => args.attributes.uid === 5).length, 1, look);
    for (const one of seen) t.match(one, { uid: 5, gid: 6, mtime: MTIME }, look);
  }
});

t.test('a file that is read has the data and the times from before', async (t) => {
  const mount = await mounted();
  const { fs, ctx, server } = mount;
  const { entry, open } = await fs.create(ctx, ROOT, Buffer.from('f'), 0o600, O_RDWR | O_EXCL);
  await mount.set({ nodeid: entry.nodeid, fh: open.fh }, TIMES);
  const request = { fh: open.fh, offset: 0, size: 10, flags: 0, direct: false };
  await fs.read(ctx, entry.nodeid, request);
  t.same(server.tree.at('f').mtime, MTIME);
});

t.test('the kernel believes none of it for longer than the answer', async (t) => {
  const mount = await mounted();
  const { fs, ctx } = mount;
  const { entry, open } = await fs.create(ctx, ROOT, Buffer.from('f'), 0o640, O_WRONLY | O_EXCL);
  t.match(entry, { attrValidMs: 0, attributes: { mode: 0o100640, uid: 0 } });
  const made = { nodeid: entry.nodeid, fh: open.fh };
  t.match(await mount.set(made, { uid: 5, mode: 0o600 }), {
    attrValidMs: 0,
    attributes: { uid: 5, mode: 0o100600 },
  });
  const found = (await fs.lookup(ctx, ROOT, Buffer.from('f'))) as EntryReply;
  t.equal(found.attrValidMs, 0);
  await mount.close(made);
  const { attrValidMs, attributes } = await fs.getattr(ctx, made.nodeid, undefined);
  t.ok(attrValidMs > 0);
  t.match(attributes, { uid: 5, mode: 0o100600 });
});

t.test(
  'within its own open(2) the kernel is told the mode without a call, and the next look asks',
  async (t) => {
    const mount = await mounted({ kernelChecks: true });
    const { fs, server } = mount;
    const ctx = new TestContext(0, 4711);
    const made = await mount.create('f', 0o640, ctx);
    const checked = await fs.getattr(ctx, made.nodeid, undefined);
    t.match(checked, { attrValidMs: 0, attributes: { mode: 0o100640 } });
    t.equal(server.names(), 'CREATE');
    await fs.getattr(ctx, made.nodeid, undefined);
    t.equal(server.names(), 'CREATE SETATTR', 'whose reply answers');
    await mount.close(made);
    const other = await mount.create('g', 0o640, ctx);
    await fs.getattr(new TestContext(0, 4712), other.nodeid, undefined);
    t.equal(server.names(), 'CREATE SETATTR CREATE SETATTR', 'another thread');
  },
);

t.test(
  'changes that a write undoes are set after the data that was written before, and before what comes later',
  async (t) => {
    const mount = await mounted();
    const { server } = mount;
    const made = await mount.unpack('f');
    await mount.write(made, 'later');
    t.match(server.tree.at('f'), WHOLE, 'the first data and the attributes are there');
    await mount.close(made);
    t.equal(server.names(), 'CREATE WRITE SETATTR WRITE COMMIT');
    t.not(server.tree.at('f').mtime.seconds, MTIME.seconds);
  },
);

t.test('later changes of a kind override earlier ones', async (t) => {
  const mount = await mounted();
  const made = await mount.unpack('f');
  await mount.set(made, { mode: 0o444 });
  await mount.close(made);
  t.equal(mount.server.count('SETATTR'), 1);
  t.match(mount.server.tree.at('f'), { ...WHOLE, mode: 0o444 });
});

t.test('a SETATTR that the server has carried out before the WRITE is repeated', async (t) => {
  for (const how of ['first', 'in between'] as const) {
    const mount = await mounted();
    const { server } = mount;
    server.once('WRITE', async (_args, execute) => {
      // The data is there with the time of the WRITE, which comes after the SETATTR in either case.
      if (how === 'in between') server.tree.at('f').data = Buffer.alloc(7);
      while (server.count('SETATTR') === 0) await settled();
      return execute();
    });
    const made = await mount.unpack('f');
    await mount.close(made);
    t.equal(server.names(), 'CREATE WRITE SETATTR SETATTR', how);
    t.match(server.tree.at('f'), WHOLE);
  }
});

t.test('where the server mixes up calls again and again, they leave one after the other', async (t) => {
  const mount = await mounted();
  const { server } = mount;
  const end = server.on('WRITE', async (_args, execute) => {
    const before = server.count('SETATTR');
    for (let i = 0; i < 5 && server.count('SETATTR') === before; i++) await settled();
    return execute();
  });
  for (let i = 0; i < 8; i++) await mount.close(await mount.unpack(`f${i}`));
  server.forgetCalls();
  await mount.close(await mount.unpack('last'));
  t.equal(server.names(), 'CREATE WRITE SETATTR');
  t.match(server.tree.at('last'), WHOLE);
  end();
});

t.test('a WRITE that the new mode might forbid goes first', async (t) => {
  const mount = await mounted({}, 1000);
  const { server } = mount;
  const gate = server.gate('WRITE');
  const made = await mount.create('f');
  await mount.write(made, 'content');
  await mount.set(made, { mode: 0o400 });
  const closing = mount.close(made);
  await settled();
  t.equal(server.count('SETATTR'), 0);
  gate.open();
  await closing;
  t.equal(server.tree.at('f').mode, 0o400);
});

t.test('data that the server loses is written again, and the times are set again after it', async (t) => {
  const mount = await mounted();
  const { server } = mount;
  const made = await mount.create('f');
  await mount.write(made, 'x'.repeat(10_000));
  await mount.set(made, TIMES);
  const gate = server.gate('COMMIT');
  const closing = mount.close(made);
  while (gate.waiting === 0) await settled();
  server.restart();
  gate.open();
  await closing;
  t.equal(server.tree.at('f').stable.length, 10_000);
  t.same(server.tree.at('f').mtime, MTIME);
});

t.test('a failure is told at close(2), once, and logged with the name of the file', async (t) => {
  const mount = await mounted();
  const { server } = mount;
  const made = await mount.unpack('f');
  server.once('SETATTR', () => server.failure('SETATTR', Status.DQUOT));
  t.equal(await outcome(mount.flush(made)), Errno.EDQUOT);
  t.equal(await outcome(mount.flush(made)), 'ok');
  t.match(mount.log, [/^\/f: its mode, owner or times were not set/]);
  const { attributes } = await mount.fs.getattr(mount.ctx, made.nodeid, undefined);
  t.equal(attributes.uid, 0, 'the server is asked how the file looks now');
});

t.test('a file that another client removes meanwhile is no failure', async (t) => {
  const mount = await mounted();
  const made = await mount.create('f');
  await mount.set(made, { mode: 0o640 });
  mount.server.tree.remove('f');
  t.equal(await outcome(mount.flush(made)), 'ok');
  t.equal(mount.server.count('SETATTR'), 1);
  t.match(mount.log.at(-1), /^\/f: its mode, owner or times were not set/);
});

t.test('after close(2) and after another open(2) every change is asked for at once', async (t) => {
  const mount = await mounted();
  const { fs, ctx, server } = mount;
  for (const end of ['close', 'open'] as const) {
    const made = await mount.unpack(end);
    if (end === 'close') await mount.flush(made);
    else await fs.open(ctx, made.nodeid, O_RDONLY);
    server.forgetCalls();
    await mount.set(made, { mode: 0o600 });
    t.equal(server.count('SETATTR'), 1, end);
  }
});

t.test('a user may put off what only the owner may do, and not a new owner', async (t) => {
  const mount = await mounted({}, 1000);
  const { server } = mount;
  const made = await mount.create('f');
  await mount.set(made, TIMES);
  await mount.set(made, { mode: 0o600 });
  await mount.set(made, { uid: 1000, gid: 1000 });
  t.equal(server.names(), 'CREATE');
  await mount.set(made, { gid: 7 });
  t.equal(server.names(), 'CREATE SETATTR SETATTR');
});

t.test('root that the server takes for somebody else puts nothing off', async (t) => {
  const mount = new Mounted();
  mount.server.squash = true;
  await mount.learn();
  await mount.unpack('f');
  t.equal(mount.server.count('SETATTR'), 4);
});

t.test(
  'a new file that has more rights than were asked for, or set-id bits, is completed at once',
  async (t) => {
    for (const [mode, wanted] of [
      [0o644, 0o600],
      [0o2600, 0o600],
      [0, 0o4700],
    ] as const) {
      const mount = await mounted();
      const { server } = mount;
      server.on('CREATE', (_args, execute) => {
        execute();
        server.tree.at('f').mode = mode;
        return execute();
      });
      await mount.create('f', wanted);
      t.equal(server.names(), 'CREATE SETATTR');
    }
  },
);

t.test('data goes out while a new file waits for its mode', async (t) => {
  const mount = await mounted();
  const { server } = mount;
  const made = await mount.create('f', 0o640);
  await mount.write(made, 'x'.repeat(5_000));
  await settled();
  t.same(
    server.named('WRITE').map(({ args }) => (args as WriteArguments).data.length),
    [4096],
  );
  await mount.close(made);
  t.equal(server.count('SETATTR'), 1);
  t.equal(server.tree.at('f').mode, 0o640);
});
