/** A mount that is handed over from session to session while programs work on it, on a real kernel: they notice nothing. */
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Errno, FuseError } from '../../lib/fuse/contract/errno.js';
import type { RequestContext } from '../../lib/fuse/contract/operations.js';
import { FuseSession, type KernelMount, mountKernel, type SessionOptions } from '../../lib/fuse/index.js';
import { duplicateDescriptor } from '../support/descriptors.js';
import { publicFolder } from '../support/folders.js';
import { intercepted } from '../support/intercepted.js';
import { MemoryFileSystem } from '../support/memory-fs.js';
import { type Background, run, start, until } from '../support/process.js';
import { SeededRandom } from '../support/seeded-random.js';
import { Gate } from '../support/served-memory.js';

const HANDOVERS = 50;

/** Works in a folder of its own until its standard input ends; says how many rounds it has made. Any error is fatal. */
const WORKER = `
import fcntl, os, select, sys
top, mine = sys.argv[1], os.path.join(sys.argv[1], sys.argv[2])
os.mkdir(mine)
at = lambda name: os.path.join(mine, name)
rounds = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    data = (b'%d %s ' % (rounds, sys.argv[2].encode())) * (1 + rounds % 4000)
    with open(at('file'), 'wb') as f:
        f.write(data); f.flush(); os.fsync(f.fileno())
    with open(at('file'), 'rb') as f:
        assert f.read() == data, 'wrong content'
    os.rename(at('file'), at('renamed'))
    os.mkdir(at('folder')); os.symlink('target', at('folder/link'))
    assert sorted(os.listdir(mine)) == ['folder', 'renamed'], os.listdir(mine)
    os.unlink(at('folder/link')); os.rmdir(at('folder')); os.unlink(at('renamed'))
    with open(os.path.join(top, 'lock'), 'r+') as f:
        fcntl.lockf(f, fcntl.LOCK_EX)
        count = int(os.pread(f.fileno(), 20, 0)); os.pwrite(f.fileno(), b'%d' % (count + 1), 0)
    rounds += 1
print(rounds)
`;

/** Answers after a short while, and not at all to a caller who goes away before. */
function slow(fs: MemoryFileSystem, random: () => number): MemoryFileSystem {
  return intercepted(fs, async ({ ctx, answer }) => {
    if (random() < 0.7)
      await new Promise<void>((resolve, reject) => {
        ctx.onCancel(() => reject(new FuseError(Errno.EINTR)));
        setTimeout(resolve, random() * 4);
      });
    return answer();
  });
}

function served({ counters }: FuseSession): number {
  return Object.values(counters.requests).reduce((sum, count) => sum + count, 0);
}

interface Relay {
  readonly mount: KernelMount;
  readonly path: (name: string) => string;
  readonly log: string[];
  readonly session: () => FuseSession;
  /** Requests that were not answered before a hand-over, in all. */
  readonly unanswered: () => number;
  handOver(patienceMs: number): Promise<void>;
}

/** Serves a mount until the test ends, by one session after the other. */
async function relay(t: Test, fs: MemoryFileSystem, options: SessionOptions): Promise<Relay> {
  const folder = publicFolder();
  const mount = await mountKernel({ mountpoint: folder.path, source: 'memory', method: 'direct' });
  const held = duplicateDescriptor(mount.fd);
  const log: string[] = [];
  const all = { ...options, log: (line: string) => void log.push(line) };
  let session = new FuseSession(mount.fd, fs, all);
  let unanswered = 0;
  t.teardown(async () => {
    session.abort();
    closeSync(held);
    await mount.unmount({ lazy: true });
    await folder.remove();
  });
  const resumed = await session.ready;
  return {
    mount,
    path: (name) => join(mount.mountpoint, name),
    log,
    session: () => session,
    unanswered: () => unanswered,
    async handOver(patienceMs) {
      const left = await session.detach({ patienceMs, cancelMs: 10_000 });
      if (left === undefined) throw new Error('the connection has ended');
      unanswered += left.unanswered;
      session = new FuseSession(duplicateDescriptor(held), fs, { ...all, resumed, requests: left.requests });
    },
  };
}

for (const resend of [true, false]) {
  const kernel = resend ? 'a kernel that repeats requests' : 'a kernel that does not';
  t.test(`${HANDOVERS} hand-overs under load lose nothing, with ${kernel}`, async (t) => {
    const seed = Number(process.env.NFS_FUSE_TEST_SEED ?? Date.now() % 1_000_000);
    t.comment(`seed ${seed}`);
    const numbers = new SeededRandom(seed);
    const random = () => numbers.fraction();
    const memory = new MemoryFileSystem({ entryValidMs: 5, attrValidMs: 5 });
    memory.root.mode = 0o041777;
    memory.addFile('lock', Buffer.from('0'));
    const { path, session, handOver, unanswered, log } = await relay(t, slow(memory, random), {
      resend,
      underWay: new Float64Array(1024),
    });
    const workers: Background[] = ['a', 'b', 'c'].map((name) =>
      start(['python3', '-c', WORKER, path(''), name], { stdio: ['pipe', 'pipe', 'pipe'] }),
    );
    const failed = () => workers.filter(({ outcome }) => outcome !== undefined);
    for (let i = 0; i < HANDOVERS && failed().length === 0; i++) {
      const enough = 1 + random() * 100;
      await until('some more was served', () => failed().length > 0 || served(session()) > enough);
      // Every other one does not wait for the operations under way.
      await handOver(i % 2 === 0 ? 600_000 : 0);
    }
    for (const { child } of workers) child.stdin?.end();
    let rounds = 0;
    for (const { ended } of workers) {
      const { status, stdout, stderr } = await ended;
      t.equal(status, 0, stderr.toString());
      rounds += Number(stdout);
    }
    t.ok(rounds > 3, `${rounds} rounds`);
    t.ok(unanswered() > 0, `${unanswered()} requests were handed over`);
    const { stdout } = await run(['cat', path('lock')]);
    t.equal(Number(stdout), rounds, 'each lock was held by one at a time');
    t.equal(memory.destroyed, 0);
    t.same(log, []);
  });

  t.test(`a lock that waits goes on waiting after a hand-over, with ${kernel}`, async (t) => {
    const memory = new MemoryFileSystem();
    memory.addFile('lock', Buffer.from('0'));
    const { path, handOver, session, unanswered } = await relay(t, memory, {
      resend,
      underWay: new Float64Array(1024),
    });
    const hold =
      'import fcntl,sys; f=open(sys.argv[1],"r+"); fcntl.lockf(f,2); print("held",flush=True); sys.stdin.read()';
    const holder = start(['python3', '-c', hold, path('lock')], { stdio: ['pipe', 'pipe', 'pipe'] });
    await until('the lock is held', () => holder.output.includes('held'));
    const waiter = start(['python3', '-c', hold, path('lock')], { stdio: ['pipe', 'pipe', 'pipe'] });
    const doomed = start(['python3', '-c', hold, path('lock')], { stdio: ['pipe', 'pipe', 'pipe'] });
    await until('both wait', () => session().counters.inFlight === 2);
    for (let i = 0; i < 2; i++) {
      await handOver(i * 600_000);
      await until('both wait again', () => session().counters.inFlight === 2);
    }
    t.equal(unanswered(), 4);
    doomed.signal('SIGKILL');
    t.equal((await doomed.ended).signal, 'SIGKILL', 'an interrupt finds the request');
    t.equal(waiter.output, '');
    holder.child.stdin?.end();
    t.equal((await holder.ended).status, 0);
    await until('the waiter has it', () => waiter.output.includes('held'));
    waiter.child.stdin?.end();
    t.equal((await waiter.ended).status, 0);
  });
}

t.test(
  'a connection that is aborted while it is handed over ends, and nothing is left to hand over',
  async (t) => {
    const gate = new Gate();
    class Stuck extends MemoryFileSystem {
      override async statfs(ctx: RequestContext, nodeid: number) {
        await gate.wait();
        return super.statfs(ctx, nodeid);
      }
    }
    const { mount, path, session, handOver } = await relay(t, new Stuck(), {});
    const waiting = start(['stat', '-f', path('')]);
    await until('a request is under way', () => gate.waiting > 0);
    const handedOver = handOver(600_000);
    const late = start(['stat', path('')]);
    t.equal(await mount.abort(), true);
    t.equal(await session().over, undefined, 'the session hears of it although it reads nothing any more');
    gate.open();
    await t.rejects(handedOver, /the connection has ended/);
    for (const program of [waiting, late]) t.not((await program.ended).status, 0);
  },
);
