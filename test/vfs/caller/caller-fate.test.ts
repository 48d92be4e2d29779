/** Whether a caller is being ended is told by its own thread, and by no other one that has its number. */
import t from 'tap';
import { callerFate } from '../../../lib/vfs/caller/caller-fate.js';
import { start, until } from '../../support/process.js';
import { untilEnd } from '../../support/until-end.js';

const me = { pid: process.pid, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

const status =
  (pending: string, uid = '7\t8\t8\t9') =>
  () =>
    `Name:\tsh\nUid:\t${uid}\nGid:\t5\t6\t6\t6\nSigPnd:\t${pending}\nShdPnd:\t0000000000000100\n`;
const named = { pid: process.pid, uid: 9, gid: 6 };

t.test('SIGKILL that is pending for the thread tells, and no other signal', async (t) => {
  t.equal(callerFate(named, status('0000000000000100')), 'killed');
  t.equal(callerFate(named, status('0000000000004100')), 'killed');
  t.equal(callerFate(named, status('ffffffff00000100')), 'killed');
  t.equal(callerFate(named, status('0000000000004000')), 'waits');
  t.equal(callerFate(named, status('0000010000000000')), 'waits');
});

t.test('the thread has the ids of the request: those of file accesses, or the real ones', async (t) => {
  const killed = status('0000000000000100');
  t.equal(callerFate({ ...named, uid: 7, gid: 5 }, killed), 'killed', 'access(2)');
  t.equal(callerFate({ ...named, uid: 8 }, killed), 'unseen');
  t.equal(callerFate({ ...named, gid: 7 }, killed), 'unseen');
  t.equal(callerFate({ ...named, uid: 0xffff_ffff, gid: 0xffff_ffff }, killed), 'killed', 'idmapped');
});

t.test('a living thread waits; the kernel itself and a thread that is gone are not seen', async (t) => {
  t.equal(callerFate(me), 'waits');
  t.equal(callerFate({ ...me, pid: 0 }), 'unseen');
  const child = untilEnd(t, start(['true']));
  await child.ended;
  t.equal(callerFate({ ...me, pid: child.pid }), 'unseen');
});

t.test('a thread that has ended is exiting', async (t) => {
  const script = 'import os, time\npid = os.fork()\nif pid: print(pid, flush=True); time.sleep(600)';
  const parent = untilEnd(t, start(['/usr/bin/python3', '-c', script]));
  await until('there is a child', () => parent.output.endsWith('\n'));
  const pid = Number(parent.output);
  await until('it has ended', () => callerFate({ ...me, pid }) !== 'waits');
  t.equal(callerFate({ ...me, pid }), 'exiting');
});
