import t from 'tap';
import {
  AWAKE_MS,
  INTERRUPTED_MS,
  REST_MS,
  Wakefulness,
} from '../../lib/fuse/session/channel/wakefulness.js';

/** A few microseconds: what a turn of the event loop takes that finds nothing to do. */
const IDLE_TURN_MS = 0.004;

/** An event loop whose turns come when the test says so. */
class Loop {
  now = 1000;
  #turns: (() => void)[] = [];
  readonly wakefulness = new Wakefulness({
    now: () => this.now,
    nextTurn: (turn) => this.#turns.push(turn),
  });

  /** False: nothing keeps the loop from sleeping. */
  get awake(): boolean {
    return this.#turns.length > 0;
  }

  turn(milliseconds = IDLE_TURN_MS): void {
    this.now += milliseconds;
    for (const turn of this.#turns.splice(0)) turn();
  }

  /** Has turns without work until the loop falls asleep; answers how long that took. */
  untilAsleep(most = 1000): number {
    const begin = this.now;
    for (let turns = 0; this.awake; turns++) {
      if (turns > most) throw new Error('never sleeps');
      this.turn();
    }
    return this.now - begin;
  }
}

t.test('the event loop sleeps when there is no work', async (t) => {
  t.notOk(new Loop().awake);
});

t.test('the event loop stays awake for a moment after work, and then sleeps', async (t) => {
  const loop = new Loop();
  loop.wakefulness.touch();
  const awake = loop.untilAsleep();
  t.ok(awake >= AWAKE_MS, `${awake} ms`);
  t.ok(awake < AWAKE_MS + 2 * IDLE_TURN_MS, `${awake} ms`);
});

t.test('the moment of staying awake counts from the last work', async (t) => {
  const loop = new Loop();
  for (let request = 0; request < 100; request++) {
    loop.wakefulness.touch();
    loop.turn();
    loop.turn();
    t.ok(loop.awake, `after request ${request}`);
  }
  t.ok(loop.untilAsleep() < AWAKE_MS + 2 * IDLE_TURN_MS);
});

t.test('one callback waits for the next turn, however often there is work in this one', async (t) => {
  let waiting = 0;
  const wakefulness = new Wakefulness({ now: () => 0, nextTurn: () => waiting++ });
  for (let request = 0; request < 10; request++) wakefulness.touch();
  t.equal(waiting, 1);
});

t.test('the session stops polling for a while when another program gets the core', async (t) => {
  const loop = new Loop();
  loop.wakefulness.touch();
  loop.turn(1.5 * INTERRUPTED_MS);
  t.notOk(loop.awake, 'sleeps at once');
  loop.wakefulness.touch();
  t.notOk(loop.awake, 'and at the next work, too');
  loop.now += REST_MS;
  loop.wakefulness.touch();
  t.ok(loop.awake, 'but not for ever');
});

t.test('long work of our own does not stop the polling', async (t) => {
  const loop = new Loop();
  loop.wakefulness.touch();
  loop.now += 10 * INTERRUPTED_MS;
  loop.wakefulness.touch();
  loop.turn();
  t.ok(loop.awake);
});
