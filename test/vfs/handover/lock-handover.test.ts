/** A process goes on with the locks of one that has died: programs keep what they had, and nothing else is held. */
import t from 'tap';
import { RecordMemory } from '../../../lib/records/index.js';
import { Handover } from '../../../lib/vfs/handover/handover.js';
import { takeUpMount } from '../../../lib/vfs/handover/take-up.js';
import { LockRig } from '../support/lock-rig.js';
import { outcome, settled } from '../support/rig.js';

/** The next process of this mount; `memory` has its records. */
async function next(before: LockRig, memory: RecordMemory): Promise<LockRig> {
  const records = new Handover({ memory: RecordMemory.adopt(memory.fd), isTakeover: true });
  const options = { server: before.server, records };
  const journal = records.lockNotes(undefined);
  const rig = new LockRig(options, { journal, random: () => 0.5 }, before.manager);
  const { files, directories, silly, credentials, locks } = rig;
  await takeUpMount(rig.vfs, records, { files, directories, silly, credentials, locks });
  await settled();
  rig.fh = before.fh;
  return rig;
}

async function first(): Promise<{ rig: LockRig; memory: RecordMemory }> {
  const memory = RecordMemory.create();
  if (memory === undefined) throw new Error('this machine gives no memory that can be shared');
  memory.setFacts({});
  const records = new Handover({ memory, isTakeover: false });
  const rig = new LockRig({ records }, { journal: records.lockNotes(undefined) });
  rig.server.tree.file('f', '');
  rig.fh = (await rig.open('f', 2)).fh;
  return { rig, memory };
}

const held = (rig: LockRig): string[] =>
  rig.locks.held().flatMap(({ pid, locks }) => locks.map((lock) => `${pid} ${lock.start}-${lock.end}`));

t.test('locks that programs hold go on, with their owners, and end when programs unlock them', async (t) => {
  const { rig: before, memory } = await first();
  await before.set({ owner: 1, start: 0, end: 9, pid: 11 });
  await before.set({ owner: 1, start: 20, end: 29, pid: 11 });
  await before.set({ owner: 2, start: 40, end: 49, pid: 12, type: 'read' });
  const rig = await next(before, memory);
  t.same(held(rig).sort(), ['11 0-9', '11 20-29', '12 40-49']);
  t.equal(await outcome(rig.set({ owner: 3, start: 5, end: 6 })), 11);
  await rig.unlock({ owner: 1, start: 0, end: 9 });
  await rig.unlock({ owner: 1, start: 20, end: 29 });
  await rig.unlock({ owner: 2, start: 40, end: 49 });
  t.same(rig.manager.held, []);
});

t.test('a lock that was unlocked does not come back with the process after the next', async (t) => {
  const { rig: before, memory } = await first();
  await before.set({ owner: 1 });
  const rig = await next(before, memory);
  await rig.unlock({ owner: 1 });
  t.same(held(await next(rig, memory)), []);
});

t.test(
  'locks end with close(2), and with the last close of their open file, in the next process too',
  async (t) => {
    const { rig: before, memory } = await first();
    await before.set({ owner: 1, start: 0, end: 9 });
    await before.set({ owner: 7, start: 20, end: 29, flock: true });
    const rig = await next(before, memory);
    await rig.closed(1);
    t.equal(held(rig).length, 1);
    await rig.locks.released(rig.files.get(rig.fh));
    t.same(held(rig), []);
    t.same(rig.manager.held, []);
  },
);

t.test(
  'a lock that was asked for when the process died, and that nobody was told of, is given back',
  async (t) => {
    const { rig: before, memory } = await first();
    before.manager.gate('NM_LOCK', 'reply');
    void before.set({ owner: 1 }).catch(() => {});
    await settled();
    t.equal(before.manager.held.length, 1);
    const rig = await next(before, memory);
    t.same(held(rig), []);
    t.same(rig.manager.held, []);
  },
);

t.test('a lock goes on through as many processes as follow each other', async (t) => {
  const { rig: before, memory } = await first();
  await before.set({ owner: 1, pid: 11 });
  const rig = await next(await next(await next(before, memory), memory), memory);
  t.equal(held(rig).length, 1);
  await rig.locks.released(rig.files.get(rig.fh));
  t.same(rig.manager.held, []);
});

t.test(
  'a lock ends although the process died between the close of its open file and the unlock',
  async (t) => {
    const { rig: before, memory } = await first();
    await before.set({ owner: 7, flock: true });
    before.manager.once('UNLOCK', () => new Promise(() => {}));
    void before.locks.released(before.files.get(before.fh));
    await before.files.release(before.fh);
    const rig = await next(before, memory);
    t.same(held(rig), []);
    t.same(rig.manager.held, []);
    t.same(held(await next(rig, memory)), []);
  },
);
