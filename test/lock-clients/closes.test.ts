/** close(2) of any descriptor of a file ends the fcntl(2) locks of its process, as POSIX has it, and nobody else's. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Ganesha } from '../support/ganesha.js';
import { LockWorkers } from '../support/locks/workers.js';
import { untilEnd } from '../support/until-end.js';
import { mountTwice } from './support/suite.js';

const GOT = { ok: null };
const REFUSED = { errno: 'EAGAIN' };
const EXCLUSIVELY = ['set', 'f', 'x', 0, '0', '0'] as const;

interface Worker {
  readonly workers: LockWorkers;
  readonly call: (operation: string, ...args: readonly unknown[]) => ReturnType<LockWorkers['call']>;
}

async function worker(t: Test, path: string, name: string): Promise<Worker> {
  const workers = untilEnd(t, LockWorkers.start(path));
  await workers.spawn(name);
  return { workers, call: (operation, ...args) => workers.call(name, operation, ...args) };
}

/** A process on one mount and a rival on another, and two files that nobody has written to or locked there. */
async function ground(t: Test, options: readonly string[] = []) {
  const server = untilEnd(t, await Ganesha.start({ locks: true }));
  for (const name of ['file', 'other']) {
    writeFileSync(join(server.directory, name), 'content');
    chmodSync(join(server.directory, name), 0o666);
  }
  const { a, b } = await mountTwice(t, server, options);
  const rival = await worker(t, b.path, 'rival');
  await rival.call('open', 'f', 'file', 'rw');
  return { one: await worker(t, a.path, 'one'), rival };
}

/** Opens the file to read, then to lock, locks it, and closes the first descriptor. */
async function closesTheFirst({ one, rival }: { readonly one: Worker; readonly rival: Worker }) {
  await one.call('open', 'reader', 'file', 'r');
  await one.call('open', 'f', 'file', 'rw');
  if (!('ok' in (await one.call('fcntl', ...EXCLUSIVELY)))) throw new Error('the lock is refused');
  await one.call('close', 'reader');
  return rival.call('fcntl', ...EXCLUSIVELY);
}

t.test('with -o lock, the close of a descriptor that was opened before any lock ends the lock', async (t) => {
  t.same(await closesTheFirst(await ground(t, ['lock'])), GOT);
});

t.test('without it that lock stays, of the first file that a mount sees locked', async (t) => {
  const { one, rival } = await ground(t);
  t.same(await closesTheFirst({ one, rival }), REFUSED);
  await one.call('close', 'f');
  t.same(await rival.call('fcntl', ...EXCLUSIVELY), GOT);
});

t.test(
  'once a program of the mount has locked any file, the close of any descriptor ends locks',
  async (t) => {
    const { one, rival } = await ground(t);
    await one.call('open', 'o', 'other', 'rw');
    t.same(await one.call('fcntl', 'set', 'o', 'x', 0, '0', '1'), GOT);
    t.same(await closesTheFirst({ one, rival }), GOT);
  },
);

t.test('a child that closes its copy of a descriptor, or ends, leaves the lock of its parent', async (t) => {
  for (const options of [[], ['lock']]) {
    const { one, rival } = await ground(t, options);
    await one.call('open', 'reader', 'file', 'r');
    await one.workers.fork('one', 'child');
    await one.call('close', 'reader');
    await one.call('open', 'f', 'file', 'rw');
    t.same(await one.call('fcntl', ...EXCLUSIVELY), GOT);
    // The last close of an open file that the parent has closed before it took the lock.
    await one.workers.call('child', 'close', 'reader');
    t.same(await rival.call('fcntl', ...EXCLUSIVELY), REFUSED, 'closed');
    await one.workers.fork('one', 'other');
    await one.workers.kill('other');
    t.same(await rival.call('fcntl', ...EXCLUSIVELY), REFUSED, 'killed');
  }
});
