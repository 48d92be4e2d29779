/** Data of a file that stays open does not wait for its COMMIT for long. */
import t from 'tap';
import { settled } from '../support/rig.js';
import { KIB, opened, state } from '../support/writer.js';

t.test('data that no more comes after is on stable storage after ten seconds', async (t) => {
  const { rig, server, write, writer } = await opened();
  await write(0, 2 * KIB);
  await rig.pass(9_000);
  t.equal(server.count('COMMIT'), 0);
  await rig.pass(1_000);
  t.equal(server.count('COMMIT'), 1);
  t.equal(server.tree.at('f').stable.length, 2 * KIB);
  t.same(state(writer), { clean: true, dirty: false, unwrittenBytes: 0 });
  await rig.pass(60_000);
  t.equal(server.count('COMMIT'), 1, 'and there is no more to do');
});

t.test('a few bytes are sent, and then they are no different', async (t) => {
  const { rig, server, write } = await opened();
  await write(0, 5);
  await rig.pass(1_000);
  await rig.pass(10_000);
  t.equal(server.names(), 'WRITE COMMIT');
  t.equal(server.tree.at('f').stable.length, 5);
});

t.test('a file that is written all the time has a COMMIT every thirty seconds', async (t) => {
  const { rig, server, write } = await opened();
  for (let second = 0; second < 29; second++) {
    await write(second * KIB, KIB);
    await rig.pass(1_000);
  }
  t.equal(server.count('COMMIT'), 0);
  await write(29 * KIB, KIB);
  await rig.pass(1_000);
  t.equal(server.count('COMMIT'), 1);
  t.equal(server.tree.at('f').stable.length, 30 * KIB);
});

t.test('data that was written while a COMMIT was under way gets its own', async (t) => {
  const { rig, server, write, writer } = await opened();
  await write(0, KIB);
  await settled();
  const gate = server.gate('COMMIT');
  await rig.pass(10_000);
  t.equal(gate.waiting, 1);
  await write(KIB, KIB);
  await rig.pass(15_000);
  t.equal(gate.waiting, 1, 'one at a time');
  gate.open();
  await settled();
  await rig.pass(10_000);
  t.equal(server.count('COMMIT'), 2);
  t.equal(writer.clean, true);
});

t.test('a server that restarts hours later gets nothing that others have overwritten since', async (t) => {
  const { rig, server, fh, write } = await opened();
  await write(0, 2 * KIB);
  await rig.pass(10_000);
  server.tree.write('f', 'theirs');
  server.restart();
  await rig.files.flush(fh);
  await rig.files.release(fh);
  t.equal(server.tree.at('f').data.toString(), 'theirs');
  t.equal(server.count('WRITE'), 2);
});

t.test('data that the server has lost is written again though nobody closes the file', async (t) => {
  const { rig, server, write } = await opened();
  await write(0, 2 * KIB);
  await settled();
  server.restart();
  await rig.pass(10_000);
  await rig.pass(10_000);
  t.equal(server.tree.at('f').stable.length, 2 * KIB);
});

t.test('a file that was closed in time costs nothing more', async (t) => {
  const { rig, server, fh, write } = await opened();
  await write(0, 2 * KIB);
  await rig.files.flush(fh);
  await rig.pass(60_000);
  t.equal(server.count('COMMIT'), 1);
});
