/**
 * A server whose replies are wrong in bits and lengths: programs may see errors, but nfs-fuse lives, its memory is
 * bounded, the mount of another server notices nothing, and the mount works again when the server does.
 *
 * Every call through a mount waits for its reply, and after garbage for a new connection. So this test has only 10
 * million bytes of garbage and some thousand wrong replies; test/rpc/fuzz-client.test.ts has 100 000.
 */
import { constants, readFileSync } from 'node:fs';
import t from 'tap';
import { type Agent, errnoOf } from '../support/agent.js';
import { type FaultPlan, NO_FAULTS, seededPlan } from '../support/fault-plan.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { Ganesha } from '../support/ganesha.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { until } from '../support/process.js';
import { SeededRandom } from '../support/seeded-random.js';
import { atTier } from '../support/tier.js';
import { untilEnd } from '../support/until-end.js';
import { seeds } from './seeds.js';

/** Programs on the mount at a time, and what each of them does. */
const PROGRAMS = 4;
const OPERATIONS = 250;
/** Lower bounds, each less than a run reached on a slow machine. */
const LEAST = { corrupted: 500, garbage: 10_000_000 };
const RATES = { corrupt: 300, truncate: 100, garbage: 80, duplicate: 30, cut: 10 };
/** Connections on which nothing but garbage comes: enough for seconds of back-off. */
const GARBAGE_CONNECTIONS = 7;
const LIMIT_KIB = 600 * 1024;

/** Nearly every reply is garbage. */
const GARBAGE_ONLY = { garbage: 1000 };

/** The largest resident size that a process ever had, in KiB. */
function peakKib(pid: number): number {
  return Number(/VmHWM:\s*(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]);
}

/** Runs an operation whose result does not matter. */
async function doSomething(fs: Agent, random: SeededRandom): Promise<void> {
  const name = () => `name${random.below(6)}`;
  const attempts: readonly (() => Promise<unknown>)[] = [
    () => fs.writeFile(name(), random.bytes(random.below(20_000))),
    () => fs.readFile(name()),
    () => fs.list('.'),
    () => fs.lstat(name()),
    () => fs.mkdir(name()),
    () => fs.rmdir(name()),
    () => fs.unlink(name()),
    () => fs.rename(name(), name()),
    () => fs.link(name(), name()),
    () => fs.symlink('somewhere', name()),
    () => fs.readlink(name()),
    () => fs.truncate(name(), random.below(9000)),
    () => fs.statvfs('.'),
    async () => {
      const fd = await fs.open(name(), constants.O_CREAT | constants.O_RDWR | constants.O_EXCL);
      await errnoOf(fs.fsync(fd));
      await fs.closeFd(fd);
    },
  ];
  await errnoOf(random.pick(attempts)());
}

for (const seed of seeds(atTier({ ci: 2, all: 3 }))) {
  t.test(`seed ${seed}`, { timeout: 300_000 }, async (t) => {
    const server = untilEnd(t, await Ganesha.start());
    const place = untilEnd(t, await openPlace('root'));
    const proxy = untilEnd(t, await FaultProxy.start({ upstream: server.port }));
    const mountOptions = [`port=${proxy.port}`, `mountport=${server.mountPort}`, 'nolock'];
    const source = { host: server.host, exportPath: server.exportPath, mountOptions };
    const times = ['timeo=1', 'retrans=1'];
    const options = [...times, ...(seed % 2 === 0 ? ['soft'] : []), 'actimeo=0'];
    const mount = untilEnd(t, await Mount.start({ source, place, options }));
    const another = untilEnd(t, await Ganesha.start());
    const other = untilEnd(t, await Mount.start({ source: another, place }));
    const fs = await mount.agent();
    const elsewhere = await other.agent();
    await elsewhere.mkdir('elsewhere');
    // Calls are not changed: the test is not about servers that get garbage.
    const onReplies = (plan: FaultPlan): FaultPlan => ({
      decide: (record) => (record.direction === 'call' ? undefined : plan.decide(record)),
    });
    const programs: Agent[] = [];
    for (let number = 0; number < PROGRAMS; number++) programs.push(await mount.agent());
    const waiting = await mount.agent();
    proxy.plan = onReplies(seededPlan(seed, RATES));
    let rounds = 0;
    const work = async (agent: Agent, number: number): Promise<void> => {
      const random = new SeededRandom(seed, 31, number);
      for (let index = 0; index < OPERATIONS; index++) {
        await doSomething(agent, random);
        if (index % 20 !== 0 || number > 0) continue;
        const text = `as if nothing were ${rounds++}`;
        await elsewhere.writeFile(`elsewhere/${index}`, text);
        const read = (await elsewhere.readFile(`elsewhere/${index}`)).toString();
        if (read !== text) t.fail(`read elsewhere: ${read}`);
      }
    };
    await Promise.all(programs.map(work));
    const { corrupted, truncated, garbage } = proxy.counters;
    t.ok(corrupted + truncated > LEAST.corrupted, `${corrupted} corrupt replies, ${truncated} cut short`);
    t.ok(garbage > LEAST.garbage, `${garbage} bytes of garbage`);

    proxy.plan = onReplies(seededPlan(seed, GARBAGE_ONLY));
    const { connections } = proxy.counters;
    const fate = waiting.list('.').then(
      () => 'answered',
      () => 'ended',
    );
    await until('garbage on many connections', async () => {
      // If calls time out, new ones keep the garbage coming.
      if (seed % 2 === 0) await errnoOf(fs.lstat('.'));
      return proxy.counters.connections >= connections + GARBAGE_CONNECTIONS;
    });
    waiting.process.signal('SIGKILL');
    await waiting.process.ended;
    t.equal(await fate, 'ended', 'a program that waits for such a server can be killed');
    proxy.plan = NO_FAULTS;
    t.equal(mount.outcome, undefined, 'nfs-fuse lives');
    t.ok(peakKib(mount.pid) < LIMIT_KIB, `peak ${peakKib(mount.pid)} KiB`);
    await until(
      'the mount works',
      async () => (await errnoOf(fs.writeFile(`after${seed}`, 'well'))) === 'no error',
    );
    t.equal((await fs.readFile(`after${seed}`)).toString(), 'well');
    t.equal((await elsewhere.list('elsewhere')).length, rounds);
    t.notMatch(mount.log, /TypeError|RangeError|unexpected/i, 'no error of our own making');
    t.equal(other.log.includes('error'), false, other.log);
  });
}
