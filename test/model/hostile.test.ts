/**
 * A server whose replies are wrong in bits and lengths: programs may see errors, but nfs-fuse lives, its memory is
 * bounded, the mount of another server notices nothing, and the mount works again when the server does.
 */
import { constants, readFileSync } from 'node:fs';
import t from 'tap';
import { type Agent, errnoOf } from '../support/agent.js';
import { NO_FAULTS, seededPlan } from '../support/fault-plan.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { Ganesha } from '../support/ganesha.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { until } from '../support/process.js';
import { SeededRandom } from '../support/seeded-random.js';
import { seeds } from './seeds.js';

const OPERATIONS = 400;
const LIMIT_KIB = 600 * 1024;

/** The largest resident size that a process ever had, in KiB. */
function peakKib(pid: number): number {
  return Number(/VmHWM:\s*(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]);
}

/** Anything, whatever comes of it. */
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

for (const seed of seeds(3)) {
  t.test(`seed ${seed}`, { timeout: 300_000 }, async (t) => {
    const server = await Ganesha.start();
    t.teardown(() => server.close());
    const place = await openPlace('root');
    t.teardown(() => place.close());
    const proxy = await FaultProxy.start({ upstream: server.port });
    t.teardown(() => proxy.close());
    const mountOptions = [`port=${proxy.port}`, `mountport=${server.mountPort}`];
    const source = { host: server.host, exportPath: server.exportPath, mountOptions };
    const times = ['timeo=5', 'retrans=1'];
    const options = [...times, ...(seed % 2 === 0 ? ['soft'] : []), 'actimeo=0'];
    const mount = await Mount.start({ source, place, options });
    t.teardown(() => mount.close());
    const another = await Ganesha.start();
    t.teardown(() => another.close());
    const other = await Mount.start({ source: another, place });
    t.teardown(() => other.close());
    const fs = await mount.agent();
    const elsewhere = await other.agent();
    await elsewhere.mkdir('elsewhere');
    const random = new SeededRandom(seed, 31);
    proxy.plan = {
      // Calls stay as they are: what a server makes of garbage is not the question.
      decide: (record) => (record.direction === 'call' ? undefined : plan.decide(record)),
    };
    const plan = seededPlan(seed, { corrupt: 300, truncate: 100, duplicate: 30, cut: 10 });
    for (let index = 0; index < OPERATIONS; index++) {
      await doSomething(fs, random);
      if (index % 20 !== 0) continue;
      await elsewhere.writeFile(`elsewhere/${index}`, `as if nothing were ${index}`);
      const read = (await elsewhere.readFile(`elsewhere/${index}`)).toString();
      if (read !== `as if nothing were ${index}`) t.fail(`read elsewhere: ${read}`);
    }
    proxy.plan = NO_FAULTS;
    t.ok(proxy.counters.corrupted > 100, `${proxy.counters.corrupted} corrupt replies`);
    t.equal(mount.outcome, undefined, 'nfs-fuse lives');
    t.ok(peakKib(mount.pid) < LIMIT_KIB, `peak ${peakKib(mount.pid)} KiB`);
    await until(
      'the mount works',
      async () => (await errnoOf(fs.writeFile(`after${seed}`, 'well'))) === 'no error',
    );
    t.equal((await fs.readFile(`after${seed}`)).toString(), 'well');
    t.equal((await elsewhere.list('elsewhere')).length, OPERATIONS / 20);
    t.notMatch(mount.log, /TypeError|RangeError|unexpected/i, 'no error of our own making');
    t.equal(other.log.includes('error'), false, other.log);
  });
}
