/** A program that has ended and waits in vain for the last close of a file is let go; no other caller is. */
import { spawn } from 'node:child_process';
import t from 'tap';
import type { RequestContext } from '../../../lib/fuse/contract/operations.js';
import type { Cancellation } from '../../../lib/rpc/client/rpc-caller.js';
import { ExitingCallers, isExiting } from '../../../lib/vfs/caller/exiting-callers.js';
import { ManualClock } from '../../rpc/support/manual-clock.js';

function ground() {
  const clock = new ManualClock();
  const state = { unresponsive: false, exiting: new Set<number>() };
  const callers = new ExitingCallers(
    clock,
    () => state.unresponsive,
    (tid) => state.exiting.has(tid),
  );
  /** One who waits until he is cancelled or `done` is called. */
  const wait = (pid: number) => {
    let interrupt = () => {};
    const ctx = {
      pid,
      uid: 0,
      gid: 0,
      cancelled: false,
      onCancel: (listener: () => void) => {
        interrupt = listener;
      },
    } as RequestContext;
    const seen = { cancelled: 0 };
    let done = () => {};
    const result = callers.wait(
      ctx,
      (cancellation: Cancellation) =>
        new Promise<void>((resolve) => {
          done = resolve;
          cancellation.onCancel(() => {
            seen.cancelled += 1;
            resolve();
          });
        }),
    );
    return { seen, result, done: () => done(), interrupt: () => interrupt() };
  };
  return { clock, state, wait };
}

t.test('only who is exiting, and only while the server does not respond', async (t) => {
  const { clock, state, wait } = ground();
  const [living, dying] = [wait(1), wait(2)];
  state.exiting.add(2);
  clock.advance(60_000);
  t.equal(dying.seen.cancelled, 0, 'a server that is slow is waited for');
  state.unresponsive = true;
  clock.advance(2_000);
  t.equal(dying.seen.cancelled, 1);
  await dying.result;
  t.equal(living.seen.cancelled, 0);
  living.interrupt();
  await living.result;
  t.equal(living.seen.cancelled, 1, 'an interrupt of the kernel counts as before');
  living.interrupt();
  t.equal(living.seen.cancelled, 1, 'once');
});

t.test('nothing is looked at when nobody waits', async (t) => {
  const { clock, wait } = ground();
  t.equal(clock.next, undefined);
  const one = wait(1);
  t.not(clock.next, undefined);
  one.done();
  await one.result;
  t.equal(clock.next, undefined);
});

t.test('a living thread, one that is gone and the kernel itself are not exiting', async (t) => {
  t.equal(isExiting(process.pid), false);
  t.equal(isExiting(0), false);
  const child = spawn('true');
  await new Promise((resolve) => child.once('close', resolve));
  t.equal(isExiting(child.pid ?? 0), false);
});
