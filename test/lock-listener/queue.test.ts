/** Programs of two mounts wait for one lock and hear of its grant: they get it in the order of the server's queue. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { statsOf } from '../support/embedded-mount.js';
import { Ganesha } from '../support/ganesha.js';
import { GuestNetwork } from '../support/guest/network.js';
import { LockWorkers } from '../support/locks/workers.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

/** Addresses of the server's machine: port 111 of each is free for one mount. */
const [FIRST, SECOND, THIRD] = ['10.78.0.1', '10.78.0.2', '10.78.0.3'];
const WAITING = 6;
const GOT = { ok: null };
const WHOLE_FILE = [0, '0', '0'] as const;

const network = await GuestNetwork.make();
t.teardown(() => network.close());
for (const address of [FIRST, SECOND, THIRD])
  await network.mustRun(['ip', 'addr', 'add', `${address}/32`, 'dev', 'lo']);

/** A mount that hears of grants, and its programs. */
class Client {
  #waiting = 0;

  private constructor(
    private readonly mount: Mount,
    private readonly workers: LockWorkers,
  ) {}

  static async start(t: Test, server: Ganesha, host: string): Promise<Client> {
    const place = untilEnd(t, await openPlace('root'));
    const { exportPath, enter, mountOptions } = server;
    const source = { host, exportPath, enter, mountOptions };
    const mount = untilEnd(t, await Mount.start({ source, place, options: ['nlmcallback'] }));
    return new Client(mount, untilEnd(t, LockWorkers.start(mount.path)));
  }

  async open(name: string): Promise<void> {
    await this.workers.spawn(name);
    await this.workers.call(name, 'open', 'f', 'file', 'rw');
  }

  async fcntl(name: string, command: string, kind: string): Promise<unknown> {
    return this.workers.begin(name, 'fcntl', command, 'f', kind, ...WHOLE_FILE).answer;
  }

  /** Begins to wait for the lock. Returns when the server has answered that it is held. */
  async stand(name: string): Promise<{ readonly answer: Promise<unknown> }> {
    const answer = this.fcntl(name, 'wait', 'x');
    this.#waiting++;
    await until('the request is noted', () => this.#noted() === this.#waiting);
    await until('no call is without an answer', async () => {
      const { locks } = await statsOf(this.mount);
      return locks?.procedures.every(({ calls, replies }) => calls === replies) === true;
    });
    return { answer };
  }

  #noted(): number {
    const folder = join(this.mount.place.folder, 'nfs-fuse');
    const notes = readdirSync(folder).filter((name) => name.endsWith('.locks'));
    const lines = notes.flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n'));
    return lines.filter((line) => line.endsWith(',true]')).length;
  }
}

t.test('waiters of two mounts get a lock in the order of the queue', { timeout: 120_000 }, async (t) => {
  const server = untilEnd(t, await Ganesha.start({ network, locks: true }));
  writeFileSync(join(server.directory, 'file'), 'content');
  const [first, second, other] = [
    await Client.start(t, server, FIRST),
    await Client.start(t, server, SECOND),
    await Client.start(t, server, THIRD),
  ];
  await other.open('holder');
  t.same(await other.fcntl('holder', 'set', 'x'), GOT);
  const names = Array.from({ length: WAITING }, (_, n) => `w${n}`);
  const clientOf = new Map(names.map((name, n) => [name, n % 3 === 0 ? first : second]));
  const order: string[] = [];
  const all: Promise<unknown>[] = [];
  for (const [name, client] of clientOf) {
    await client.open(name);
    const { answer } = await client.stand(name);
    all.push(
      answer.then(async (got) => {
        t.same(got, GOT);
        order.push(name);
        await client.fcntl(name, 'set', 'u');
      }),
    );
  }
  await other.fcntl('holder', 'set', 'u');
  await Promise.all(all);
  t.same(order, names);
});
