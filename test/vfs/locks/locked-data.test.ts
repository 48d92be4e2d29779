/** Data follows the lock: whoever gets it sees the file as it is now, and whoever gets it next sees what was written. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { Status } from '../../../lib/programs/nfs3/index.js';
import { interrupter, LockRig } from '../support/lock-rig.js';
import { outcome, settled } from '../support/rig.js';

const dropped = (rig: LockRig): number => rig.notices.filter((notice) => notice.startsWith('pages')).length;

/** A kernel that takes its time to drop pages. */
function slowKernel(rig: LockRig): { asked: number; done: () => void } {
  const waiting: (() => void)[] = [];
  const kernel = {
    asked: 0,
    done: () => {
      for (const resolve of waiting.splice(0)) resolve();
    },
  };
  const invalidatePages = (): Promise<void> => {
    kernel.asked++;
    return new Promise((resolve) => waiting.push(resolve));
  };
  rig.vfs.kernel.notifier = { ...rig.vfs.kernel.notifier, invalidatePages };
  return kernel;
}

/** Content that was read long after its last change: pages of it are good for certain. */
async function read(rig: LockRig): Promise<string> {
  await rig.pass(2_000);
  return (await rig.read(rig.fh, 0, 100)).toString();
}

t.test('data that was written is on stable storage before the UNLOCK leaves', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  await rig.write(rig.fh, 0, 'written under the lock');
  const gate = rig.server.gate('WRITE');
  const unlock = rig.unlock();
  await settled();
  t.equal(gate.waiting, 1);
  t.equal(rig.manager.count('UNLOCK'), 0);
  gate.open();
  await unlock;
  t.equal(rig.server.tree.at('f').stable.toString(), 'written under the lock');
  t.equal(rig.manager.count('UNLOCK'), 1);
});

t.test('a write that fails does not keep the lock', async (t) => {
  const rig = await LockRig.open();
  await rig.set();
  await rig.write(rig.fh, 0, 'data');
  rig.server.fail('WRITE', Status.NOSPC);
  t.equal(await outcome(rig.unlock()), 'ok');
  t.same(rig.manager.held, []);
  t.equal(await outcome(rig.files.flush(rig.fh)), Errno.ENOSPC, 'and is reported where writes are');
});

t.test('data from before the lock goes to the server before the program has it', async (t) => {
  const rig = await LockRig.open();
  await rig.write(rig.fh, 0, 'written before');
  await rig.set();
  t.equal(rig.server.tree.at('f').stable.toString(), 'written before');
});

t.test('what is cached of the file is dropped, and the kernel asks for its attributes', async (t) => {
  const rig = await LockRig.open({}, {}, 'content');
  await read(rig);
  rig.notices.length = 0;
  rig.server.forgetCalls();
  await rig.set();
  t.same(rig.notices, [
    `pages ${rig.files.get(rig.fh).inode.nodeid} 0`,
    `attributes ${rig.files.get(rig.fh).inode.nodeid}`,
  ]);
  t.equal(rig.counters.pages.invalidated, 1);
  rig.server.tree.at('f').data = Buffer.from('changed');
  t.equal((await rig.read(rig.fh, 0, 100)).toString(), 'changed', 'what was read ahead is void');
});

t.test('a file of which nothing is cached is not asked about', async (t) => {
  const rig = await LockRig.open({}, {}, 'content');
  await rig.set();
  t.equal(rig.server.names(), '');
  t.equal(dropped(rig), 0);
});

t.test('pages that were read under an earlier lock stay while the server has the same file', async (t) => {
  const rig = await LockRig.open({}, {}, 'content');
  await rig.set();
  await read(rig);
  await rig.unlock();
  await rig.set({ type: 'read' });
  await rig.unlock();
  rig.server.forgetCalls();
  await rig.set();
  t.equal(dropped(rig), 0);
  t.equal(rig.server.names(), 'GETATTR');
  await rig.unlock();
  await rig.pass(1_000);
  rig.server.tree.write('f', 'another');
  await rig.set();
  t.ok(dropped(rig) > 0);
  t.equal((await rig.read(rig.fh, 0, 100)).toString(), 'another');
});

t.test('pages that were read in the tick of the last change are dropped', async (t) => {
  const rig = await LockRig.open({}, {}, 'content');
  await rig.set();
  rig.server.tree.write('f', 'changed');
  await rig.read(rig.fh, 0, 100);
  await rig.unlock();
  rig.notices.length = 0;
  await rig.set();
  t.equal(dropped(rig), 1);
});

t.test('pages are dropped when the file was written here since the last lock', async (t) => {
  const rig = await LockRig.open({}, {}, 'content');
  await rig.set();
  await read(rig);
  await rig.write(rig.fh, 0, 'C');
  await rig.unlock();
  await rig.pass(2_000);
  await rig.set();
  t.equal(dropped(rig), 1);
});

t.test('pages are dropped when the server cannot be asked', async (t) => {
  const rig = await LockRig.open({}, {}, 'content');
  await rig.set();
  await read(rig);
  await rig.unlock();
  rig.server.fail('GETATTR', Status.IO);
  t.equal(await outcome(rig.set()), 'ok');
  t.equal(dropped(rig), 1);
});

t.test('a lock that is granted while pages are being dropped waits for that', async (t) => {
  const rig = await LockRig.open({}, {}, 'content');
  await read(rig);
  const kernel = slowKernel(rig);
  const first = rig.set({ end: 9 });
  await settled();
  const second = rig.set({ owner: 2, start: 10 });
  t.equal(await outcome(second), 'pending');
  t.equal(kernel.asked, 1);
  kernel.done();
  t.equal(await outcome(first), 'ok');
  t.equal(await outcome(second), 'ok');
  t.equal(kernel.asked, 1);
});

t.test('pages that are filled while others are dropped are known to be there', async (t) => {
  const rig = await LockRig.open({}, {}, 'content');
  await read(rig);
  const kernel = slowKernel(rig);
  const first = rig.set();
  await settled();
  await rig.read(rig.fh, 0, 100);
  kernel.done();
  t.equal(await outcome(first), 'ok');
  await rig.unlock();
  await rig.pass(2_000);
  rig.server.tree.write('f', 'changed');
  const second = rig.set();
  await rig.pass(200);
  t.ok(kernel.asked > 1, 'and dropped when the file has changed');
  kernel.done();
  await settled();
  kernel.done();
  await second;
});

t.test('a program that is interrupted while its file is asked about has no lock', async (t) => {
  const rig = await LockRig.open({}, {}, 'content');
  await rig.set();
  await read(rig);
  await rig.unlock();
  const gate = rig.server.gate('GETATTR');
  const cancellation = interrupter();
  const wanted = rig.set({ cancellation });
  await settled();
  t.equal(gate.waiting, 1);
  cancellation.cancel();
  t.equal(await outcome(wanted), Errno.EINTR);
  gate.open();
  await settled();
  t.same(rig.manager.held, []);
  t.equal(dropped(rig), 0);
});

t.test('a lock that costs no call changes nothing of what is cached', async (t) => {
  const rig = await LockRig.open({}, {}, 'content');
  await rig.set();
  await read(rig);
  rig.notices.length = 0;
  await rig.set({ end: 9 });
  t.same(rig.notices, []);
});
