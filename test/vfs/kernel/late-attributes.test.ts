/** Replies that come late: what they show of an object must not hide what later calls have brought or done. */

import t from 'tap';
import { named } from '../support/named.js';
import { O_RDWR, Rig, settled } from '../support/rig.js';

const STABLE = 1000;
const WHOLE = 3000;

/** A file whose end the server has lost in a crash, while it is in memory here. */
async function fileWithLostEnd() {
  const rig = new Rig();
  const { server } = rig;
  server.tree.file('f', 'x'.repeat(STABLE));
  const { inode, fh } = await rig.open('f', O_RDWR);
  await rig.write(fh, 2000, 'y'.repeat(WHOLE - 2000));
  await rig.pass(1000);
  server.restart();
  return { rig, server, inode, fh };
}

t.test('GETATTR from before lost data was written again does not cut the file off', async (t) => {
  const { rig, server, inode, fh } = await fileWithLostEnd();
  const gate = server.gate('GETATTR', 'reply');
  const asked = rig.vfs.current.fetch(inode, rig.caller());
  await settled();
  t.equal(gate.waiting, 1);
  await rig.files.flush(fh);
  t.equal(server.tree.at('f').stable.length, WHOLE);
  gate.open();
  const attributes = await asked;
  t.equal(rig.vfs.replies.attributes(inode, attributes).attributes.size, BigInt(WHOLE));
});

t.test('nor does LOOKUP', async (t) => {
  const { rig, server, inode, fh } = await fileWithLostEnd();
  rig.vfs.attributes.expire(inode);
  const gate = server.gate('LOOKUP', 'reply');
  const asked = rig.lookup.entry(rig.root, named('f'), rig.caller());
  await settled();
  t.equal(gate.waiting, 1);
  await rig.files.flush(fh);
  gate.open();
  t.match(await asked, { attributes: { size: BigInt(WHOLE) } });
});

t.test('nor does SETATTR of something else', async (t) => {
  const { rig, server, inode, fh } = await fileWithLostEnd();
  const gate = server.gate('SETATTR', 'reply');
  const none = { mode: undefined, uid: undefined, gid: undefined, size: undefined };
  const times = { atime: undefined, mtime: undefined, fh: undefined };
  const asked = rig.files.setAttributes(inode, { ...none, ...times, mode: 0o600 }, rig.caller());
  await settled();
  t.equal(gate.waiting, 1);
  await rig.files.flush(fh);
  gate.open();
  const attributes = await asked;
  t.equal(rig.vfs.replies.attributes(inode, attributes).attributes.size, BigInt(WHOLE));
});

t.test('an append whose GETATTR came late lands behind the lost data, not in it', async (t) => {
  const { rig, server, inode, fh } = await fileWithLostEnd();
  const appending = await rig.files.open(inode, O_RDWR | 0o2000, rig.caller());
  const gate = server.gate('GETATTR', 'reply');
  const appended = rig.write(appending.fh, 0, 'z');
  await settled();
  t.equal(gate.waiting, 1);
  await rig.files.flush(fh);
  gate.open();
  await appended;
  await rig.files.flush(fh);
  const { stable } = server.tree.at('f');
  t.equal(stable.length, WHOLE + 1);
  t.equal(stable.subarray(2000).toString(), `${'y'.repeat(WHOLE - 2000)}z`);
});

t.test('two pictures of one moment that differ: the server is asked again', async (t) => {
  const { rig, server, inode, fh } = await fileWithLostEnd();
  // A clock so coarse that all of it falls into one tick.
  server.tree.tick = 0;
  const gate = server.gate('GETATTR', 'reply');
  const asked = rig.vfs.current.fetch(inode, rig.caller());
  await settled();
  await rig.files.flush(fh);
  server.forgetCalls();
  gate.open();
  t.equal((await asked).size, BigInt(WHOLE));
  t.equal(server.count('GETATTR'), 1);
});
