/** An owner keeps its number at the server while it is in use, and numbers begin at a random place. */
import t from 'tap';
import { LockOwners } from '../../../lib/vfs/locks/lock-owners.js';

function owners(first = 7): LockOwners {
  return new LockOwners('host', () => first / 2 ** 31);
}

t.test('numbers begin where chance says, and count', async (t) => {
  const known = owners(41);
  const one = known.use(1n, false, 11);
  const two = known.use(2n, false, 12);
  t.match(one, { svid: 41, ownerHandle: '41@host', flock: false, pid: 11 });
  t.match(two, { svid: 42, ownerHandle: '42@host', pid: 12 });
  t.not(one.key, two.key);
});

t.test('after the largest signed number comes 0', async (t) => {
  const known = owners(2 ** 31 - 1);
  t.equal(known.use(1n, false, 1).svid, 2 ** 31 - 1);
  t.equal(known.use(2n, false, 1).svid, 0);
});

t.test('a flock(2) owner and a fcntl(2) owner of one number are two', async (t) => {
  const known = owners();
  const posix = known.use(1n, false, 11);
  const flock = known.use(1n, true, 11);
  t.not(posix.svid, flock.svid);
  t.not(posix.key, flock.key);
  t.equal(known.find(1n, false), posix);
  t.equal(known.find(1n, true), flock);
  t.equal(known.find(2n, true), undefined);
});

t.test('the process is the one that asked last, and no unlock takes it away', async (t) => {
  const known = owners();
  const owner = known.use(1n, false, 11);
  known.use(1n, false, 12);
  t.equal(owner.pid, 12);
  known.use(1n, false, 0);
  t.equal(owner.pid, 12);
});

t.test('an idle owner stays the same for the next 256, and a busy one for ever', async (t) => {
  const known = owners();
  const busy = known.use(1n, false, 1);
  const idle = known.use(2n, false, 1);
  known.giveBack(idle);
  for (let n = 0; n < 255; n++) known.giveBack(known.use(BigInt(100 + n), false, 1));
  t.equal(known.find(2n, false), idle);
  known.giveBack(known.use(1000n, false, 1));
  t.equal(known.find(2n, false), undefined, 'the longest idle goes first');
  t.equal(known.find(1n, false), busy);
  t.not(known.use(2n, false, 1).svid, idle.svid, 'its number is not used again');
});

t.test('each use has to be given back', async (t) => {
  const known = owners();
  const owner = known.use(1n, false, 1);
  known.useAgain(owner);
  known.giveBack(owner);
  for (let n = 0; n < 300; n++) known.giveBack(known.use(BigInt(100 + n), false, 1));
  t.equal(known.find(1n, false), owner);
  known.giveBack(owner);
  for (let n = 0; n < 300; n++) known.giveBack(known.use(BigInt(500 + n), false, 1));
  t.equal(known.find(1n, false), undefined);
  t.throws(() => known.useAgain(owner), /not in use/);
});

t.test('an owner that is used again is the youngest of the idle ones', async (t) => {
  const known = owners();
  const owner = known.use(1n, false, 1);
  known.giveBack(owner);
  for (let n = 0; n < 200; n++) known.giveBack(known.use(BigInt(100 + n), false, 1));
  known.giveBack(known.use(1n, false, 1));
  for (let n = 0; n < 200; n++) known.giveBack(known.use(BigInt(500 + n), false, 1));
  t.equal(known.find(1n, false), owner);
});
