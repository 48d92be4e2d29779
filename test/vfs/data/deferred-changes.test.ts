/** Attributes that wait for the data of a new file: who waits for them, and what becomes of them when the server restarts. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { type Made, type Mounted, mounted, ROOT } from '../support/mounted.js';
import { outcome, settled, TestContext } from '../support/rig.js';

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
