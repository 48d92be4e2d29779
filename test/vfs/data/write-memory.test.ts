/** The memory that writes wait for, and the number of WRITEs that wait. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { O_RDWR, outcome, Rig, settled } from '../support/rig.js';
import { KIB, opened, pattern } from '../support/written-file.js';

t.test('writes wait for memory, which several files hold, and always get it', async (t) => {
  const rig = new Rig({ writeBudget: 16 * KIB });
  const { server } = rig;
  const fhs: number[] = [];
  for (let i = 0; i < 5; i++) {
    server.tree.file(`f${i}`);
    fhs.push((await rig.open(`f${i}`, O_RDWR)).fh);
  }
  // Four files hold all of it, as data that no COMMIT covers and as data that is still gathered.
  for (const fh of fhs.slice(0, 4)) await rig.write(fh, 0, pattern(3 * KIB + 900));
  await settled();
  await rig.write(fhs[4] ?? 0, 0, pattern(12 * KIB));
  await Promise.all(fhs.map((fh, i) => rig.write(fh, 4 * KIB, pattern(10 * KIB, i))));
  for (const fh of fhs) await rig.files.flush(fh);
  t.equal(rig.vfs.memory.writeBudget.used, 0);
  t.equal(rig.vfs.memory.writers.size, 0);
  t.same(server.tree.at('f3').stable.subarray(4 * KIB), pattern(10 * KIB, 3));
});

t.test('one write larger than the whole budget goes through', async (t) => {
  const { rig, server, fh } = await opened({ writeBudget: 2 * KIB });
  await rig.write(fh, 0, pattern(9 * KIB));
  await rig.write(fh, 9 * KIB, pattern(9 * KIB));
  await rig.files.flush(fh);
  t.equal(server.tree.at('f').stable.length, 18 * KIB);
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test('a file has so many WRITEs waiting and no more', async (t) => {
  const { rig, server, fh } = await opened();
  const gate = server.gate('WRITE');
  let taken = 0;
  const writer = (async () => {
    for (let i = 0; i < 200; i++) {
      // Apart from each other, so that none joins another.
      await rig.write(fh, i * 2 * KIB, 'x');
      taken++;
    }
  })();
  await settled();
  t.ok(taken < 100, `${taken} were taken`);
  t.equal(gate.waiting, 16);
  gate.open();
  await writer;
  await rig.files.flush(fh);
  t.equal(server.tree.at('f').stable.length, 199 * 2 * KIB + 1);
});

t.test('bytes written twice while gathered are held once', async (t) => {
  const { rig, fh } = await opened();
  for (let i = 0; i < 50; i++) await rig.write(fh, 0, pattern(100));
  t.equal(rig.vfs.memory.writeBudget.used, 100);
  await rig.files.flush(fh);
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test('a writer that waits for memory and is interrupted has written nothing', async (t) => {
  const { rig, server, fh } = await opened({ writeBudget: 2 * KIB });
  const gate = server.gate('WRITE');
  await rig.write(fh, 0, pattern(2 * KIB));
  const { caller, cancel } = rig.interruptible();
  const writing = rig.write(fh, 2 * KIB, pattern(2 * KIB), caller);
  t.equal(await outcome(writing), 'pending');
  cancel();
  t.equal(await outcome(writing), Errno.EINTR);
  gate.open();
  await rig.files.flush(fh);
  t.equal(server.tree.at('f').stable.length, 2 * KIB);
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});
