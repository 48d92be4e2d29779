import t from 'tap';
import { ServerClock } from '../../../lib/vfs/cache/server-clock.js';

const at = (milliseconds: number) => ({
  seconds: Math.floor(milliseconds / 1000),
  nanoseconds: (milliseconds % 1000) * 1e6,
});

t.test('nothing has left its tick before the server has shown a time', async (t) => {
  const clock = new ServerClock();
  t.equal(clock.hasLeft(at(1), 1e9), false);
  t.equal(clock.ordered, true);
});

t.test('a ctime is left when the clock of the server has gone on by a tick', async (t) => {
  const clock = new ServerClock();
  clock.saw(at(5_000_500), 100);
  t.equal(clock.hasLeft(at(5_000_480), 100), true);
  t.equal(clock.hasLeft(at(5_000_481), 100), false);
});

t.test('the clock of the server is taken to go on with ours, and a little slower', async (t) => {
  const clock = new ServerClock();
  clock.saw(at(5_000_500), 100);
  t.equal(clock.hasLeft(at(5_000_500), 120), false);
  t.equal(clock.hasLeft(at(5_000_500), 121), true);
  t.equal(clock.hasLeft(at(5_100_379), 100_100), true);
  t.equal(clock.hasLeft(at(5_100_381), 100_100), false, 'a hundred milliseconds slower in a hundred seconds');
});

t.test('before the reply came the clock was as much earlier', async (t) => {
  const clock = new ServerClock();
  clock.saw(at(5_000_500), 100);
  t.equal(clock.hasLeft(at(5_000_430), 50), true);
  t.equal(clock.hasLeft(at(5_000_431), 50), false);
  clock.saw(at(6_000_500), 100_100);
  t.equal(clock.hasLeft(at(5_900_481), 100), false, 'and not less');
});

t.test('a time that tells nothing new changes nothing', async (t) => {
  const clock = new ServerClock();
  clock.saw(at(5_000_500), 100);
  clock.saw(at(5_000_600), 1_100);
  t.equal(clock.hasLeft(at(5_001_479), 1_100), true, 'it was past that by then');
  clock.saw(at(5_009_000), 1_100);
  t.equal(clock.hasLeft(at(5_008_980), 1_100), true, 'a later time moves it');
});

t.test('whole seconds are left a second later', async (t) => {
  const clock = new ServerClock();
  clock.saw(at(5_001_019), 0);
  t.equal(clock.hasLeft(at(5_000_000), 0), false);
  clock.saw(at(5_001_020), 0);
  t.equal(clock.hasLeft(at(5_000_000), 0), true);
});

t.test('a clock that went back begins anew, and puts nothing in order any more', async (t) => {
  const clock = new ServerClock();
  clock.saw(at(5_000_500), 100);
  clock.wentBack(at(4_000_500), 200);
  t.equal(clock.ordered, false);
  t.equal(clock.hasLeft(at(4_000_500), 200), false);
  t.equal(clock.hasLeft(at(4_000_480), 200), true);
  t.equal(clock.hasLeft(at(4_000_500), 221), true);
});
