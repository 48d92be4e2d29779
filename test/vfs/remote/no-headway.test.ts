/** Servers that answer and make no headway: they are asked more and more slowly, and at last there is an error. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { StableHow } from '../../../lib/programs/nfs3/index.js';
import { Credentials } from '../../../lib/vfs/caller/caller.js';
import { O_RDONLY, O_RDWR, outcome, Rig, settled, TestContext } from '../support/rig.js';
import { KIB, opened } from '../support/written-file.js';

/** Lets time pass, timer by timer, until `work` is done. Answers its outcome, and how long each wait was. */
async function patiently<Value>(rig: Rig, work: Promise<Value>) {
  let ended = false;
  const finished = () => {
    ended = true;
  };
  work.then(finished, finished);
  const waits: number[] = [];
  for (let turns = 0; !ended; turns++) {
    if (turns > 1000) throw new Error('it goes on for ever');
    await settled();
    const { next } = rig.clock;
    if (ended || next === undefined) continue;
    waits.push(next);
    rig.clock.advance(next);
  }
  return { end: await outcome(work), waits };
}

/** A server whose every answer to WRITE has a verifier of its own, and promises nothing. */
function neverStable({ server }: Rig): void {
  let verifiers = 0;
  server.on('WRITE', async (_args, execute) => ({
    ...(await execute()),
    committed: StableHow.UNSTABLE,
    verifier: `verifier${verifiers++}`,
  }));
}

t.test(
  'FILE_SYNC that is answered UNSTABLE, with a new verifier each time: pauses, and then EIO',
  async (t) => {
    const { rig, server, fh } = await opened();
    neverStable(rig);
    await rig.write(fh, 0, 'lost');
    const { end, waits } = await patiently(rig, rig.files.flush(fh));
    t.equal(end, Errno.EIO);
    t.ok(server.count('WRITE') <= 20, `${server.count('WRITE')} WRITEs`);
    t.ok(server.count('COMMIT') <= 20, `${server.count('COMMIT')} COMMITs`);
    t.same(waits.slice(0, 6), [250, 500, 1000, 2000, 4000, 5000]);
    t.equal(rig.vfs.memory.writeBudget.used, 0, 'its memory is free again');
    t.equal(rig.vfs.memory.writers.size, 0);
  },
);

t.test('each of many WRITEs to such a server at once is as patient', async (t) => {
  const { rig, server, fh } = await opened();
  neverStable(rig);
  await rig.write(fh, 0, 'x'.repeat(32 * KIB));
  const { end } = await patiently(rig, rig.files.flush(fh));
  t.equal(end, Errno.EIO);
  t.ok(server.count('WRITE') <= 32 * 20, `${server.count('WRITE')} WRITEs`);
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test(
  'a server that only forgets its verifier gets it all written with FILE_SYNC, without a pause',
  async (t) => {
    const { rig, server, fh } = await opened();
    let verifiers = 0;
    server.on('COMMIT', async (_args, execute) => ({
      ...(await execute()),
      verifier: `verifier${verifiers++}`,
    }));
    await rig.write(fh, 0, 'x'.repeat(4 * KIB));
    const { end, waits } = await patiently(rig, rig.files.flush(fh));
    t.equal(end, 'ok');
    t.same(waits, []);
    t.equal(server.tree.at('f').stable.toString(), 'x'.repeat(4 * KIB));
  },
);

t.test('one byte with each WRITE: pauses, and then EIO', async (t) => {
  const { rig, server, fh } = await opened();
  server.mostWrite = 1;
  await rig.write(fh, 0, 'x'.repeat(KIB));
  const { end, waits } = await patiently(rig, rig.files.flush(fh));
  t.equal(end, Errno.EIO);
  t.ok(server.count('WRITE') <= 20, `${server.count('WRITE')} WRITEs`);
  t.same(waits.slice(0, 6), [250, 500, 1000, 2000, 4000, 5000]);
  t.equal(rig.vfs.memory.writeBudget.used, 0);
});

t.test('a server that takes less than it is sent is sent less', async (t) => {
  const rig = new Rig({ limits: { rsize: KIB, wsize: 256 * KIB, dtsize: 65_536, nameMax: 255 } });
  rig.server.tree.file('f', '');
  const { fh } = await rig.open('f', O_RDWR);
  rig.server.mostWrite = 8 * KIB;
  const data = Buffer.alloc(256 * KIB, 'y');
  await rig.write(fh, 0, data);
  const { end, waits } = await patiently(rig, rig.files.flush(fh));
  t.equal(end, 'ok');
  t.same(waits, [], 'it gets on');
  t.same(rig.server.tree.at('f').stable, data);
  const sent = rig.server.named('WRITE').reduce((sum, { args }) => sum + args.data.length, 0);
  t.ok(sent <= 3 * data.length, `${sent} bytes were sent`);
});

t.test('one byte with each READ, and no end: pauses, and then EIO', async (t) => {
  const { rig, server, fh } = await opened({ config: { earlyRead: false } }, 'x'.repeat(KIB), O_RDONLY);
  server.mostRead = 1;
  const { end, waits } = await patiently(rig, rig.read(fh, 0, KIB));
  t.equal(end, Errno.EIO);
  t.ok(server.count('READ') <= 40, `${server.count('READ')} READs`);
  t.same(waits.slice(0, 3), [250, 500, 1000]);
});

t.test('a few bytes that are all that is wanted, or the end, cost no pause', async (t) => {
  const { rig, fh } = await opened({}, 'x'.repeat(20));
  const reads = async () => {
    for (let at = 0; at < 20; at++) await rig.read(fh, at, 1);
    for (let at = 0; at < 20; at++) await rig.write(fh, at, 'y');
    await rig.files.flush(fh);
  };
  const { end, waits } = await patiently(rig, reads());
  t.equal(end, 'ok');
  t.same(
    waits.filter((wait) => wait >= 250),
    [],
  );
});

t.test('an object whose group is another in each answer is asked about a few times only', async (t) => {
  const { rig, server, inode } = await opened();
  const groups = Array.from({ length: 40 }, (_, index) => 100 + index);
  const credentials = new Credentials({ machineName: 'm', now: () => 0, groupsOf: () => groups });
  // Credentials are told apart by their numbers: these are not those of the rig.
  for (let number = 0; number < 20; number++) credentials.of(number, number, []);
  let asked = 0;
  server.on('ACCESS', async (_args, execute) => {
    const answer = await execute();
    const gid = 120 + (asked++ % 15);
    // Others change it all the time, or so it says.
    const ctime = { seconds: 2_000_000_000 + asked, nanoseconds: 0 };
    if (asked > 50) throw new Error('it is asked for ever');
    return { ...answer, attributes: { ...answer.attributes, gid, ctime } };
  });
  const { end } = await patiently(
    rig,
    rig.permission.check(inode, 4, credentials.caller(new TestContext(7, 9))),
  );
  t.equal(end, 'ok');
  t.ok(asked >= 2 && asked <= 3, `${asked} calls`);
});
