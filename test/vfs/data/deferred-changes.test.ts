/** Attributes that wait for the data of a new file: who waits for them, and what becomes of them when the server restarts. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { type Made, type Mounted, MTIME, mounted, O_EXCL, ROOT, TIMES } from '../support/mounted.js';
import { named } from '../support/named.js';
import { O_WRONLY, outcome, settled, TestContext } from '../support/rig.js';
import { opened } from '../support/writer.js';

t.test('a signal ends the wait of a call that looks at the file while the server is silent', async (t) => {
  const from = { parent: ROOT, name: Buffer.from('f') };
  const to = { parent: ROOT, name: Buffer.from('g') };
  const looks: Record<string, (mount: Mounted, made: Made, ctx: TestContext) => Promise<unknown>> = {
    access: ({ fs }, { nodeid }, ctx) => fs.access(ctx, nodeid, 4),
    link: ({ fs }, { nodeid }, ctx) => fs.link(ctx, nodeid, ROOT, to.name),
    rename: ({ fs }, _made, ctx) => fs.rename(ctx, from, to, 0),
  };
  for (const [look, act] of Object.entries(looks)) {
    const mount = await mounted();
    const { server } = mount;
    const made = await mount.unpack('f');
    const gate = server.gate('SETATTR');
    const ctx = new TestContext(0);
    const looking = act(mount, made, ctx);
    t.equal(await outcome(looking), 'pending', look);
    t.equal(gate.waiting, 1, look);
    ctx.cancel();
    t.equal(await outcome(looking), Errno.EINTR, look);
    gate.open();
    await mount.close(made);
    await settled();
    t.equal(server.names(), 'CREATE WRITE SETATTR COMMIT', `${look}: nothing else was asked for`);
    t.match(server.tree.at('f'), { uid: 5, gid: 6 });
  }
});

t.test('a file is complete when it gets another name, also where its name is not in the cache', async (t) => {
  for (const over of ['nothing', 'an open file'] as const) {
    const { rig, server, writer } = await opened();
    const caller = rig.caller();
    if (over === 'an open file') {
      server.tree.file('g', 'old');
      await rig.open('g');
    }
    t.equal(writer.setLater({ mode: 0o600 }, caller.credential, true), true);
    rig.vfs.dentries.delete(rig.root, named('f'));
    server.forgetCalls();
    let mode: number | undefined;
    server.on('RENAME', ({ to }, execute) => {
      if (to.name === 'g') ({ mode } = server.tree.at('f'));
      return execute();
    });
    await rig.remove.rename(rig.at('f'), rig.at('g'), 0, caller);
    t.equal(mode, 0o600, over);
    t.equal(server.count('SETATTR'), 1, over);
  }
});

t.test(
  'after a restart of the server the times are set once more, and the mode of another client stays',
  async (t) => {
    const mount = await mounted();
    const { server } = mount;
    const made = await mount.create('f');
    await mount.write(made, 'x'.repeat(10_000));
    await mount.set(made, TIMES);
    await mount.set(made, { uid: 5, gid: 6 });
    await mount.set(made, { mode: 0o664 });
    const gate = server.gate('COMMIT');
    const closing = mount.close(made);
    while (gate.waiting === 0) await settled();
    t.match(server.tree.at('f'), { mode: 0o664, uid: 5, gid: 6, mtime: MTIME });
    server.tree.chmod('f', 0o600);
    server.tree.at('f').gid = 7;
    server.restart();
    gate.open();
    await closing;
    t.equal(server.tree.at('f').stable.length, 10_000);
    t.match(server.tree.at('f'), { mode: 0o600, uid: 5, gid: 7, mtime: MTIME });
    t.equal(server.count('SETATTR'), 2);
  },
);

t.test('where no times were set, a restart of the server is no reason to set anything', async (t) => {
  const mount = await mounted();
  const { server } = mount;
  const made = await mount.create('f', 0o640);
  await mount.write(made, 'x'.repeat(10_000));
  const gate = server.gate('COMMIT');
  const closing = mount.close(made);
  while (gate.waiting === 0) await settled();
  server.restart();
  gate.open();
  await closing;
  t.equal(server.tree.at('f').stable.length, 10_000);
  t.equal(server.count('SETATTR'), 1);
});

t.test('O_TRUNC beside O_EXCL costs nothing: a file that is new is empty', async (t) => {
  const O_TRUNC = 0o1000;
  const { fs, ctx, server } = await mounted();
  const { entry, open } = await fs.create(ctx, ROOT, Buffer.from('f'), 0o640, O_WRONLY | O_EXCL | O_TRUNC);
  t.equal(server.names(), 'CREATE');
  await fs.flush(ctx, entry.nodeid, open.fh, 0n);
  t.equal(server.names(), 'CREATE SETATTR');
  t.equal(server.tree.at('f').mode, 0o640);
});
