/** Unmounting while the server does not answer: the messages, the waiting, and the losses. */

import { constants } from 'node:fs';
import t, { type Test } from 'tap';
import {
  DATA,
  type HeldServer,
  heldMount,
  heldServer,
  leaveUnwritten as leaveUnwrittenIn,
} from '../support/held-mount.js';
import type { Mount } from '../support/mount.js';
import { type Background, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { nfsFuse, product, STACK_TRACE } from './support/product.js';

const { O_CREAT, O_RDWR } = constants;
// These tests mostly wait.
t.jobs = 4;
const PATIENCE_MS = 60_000;

interface Ground extends HeldServer {
  readonly mount: Mount;
}

async function ground(t: Test): Promise<Ground> {
  const where = await heldServer(t);
  return { ...where, mount: await heldMount(t, where) };
}

const leaveUnwritten = (t: Test, where: Ground, path: string) =>
  leaveUnwrittenIn(t, where, where.mount, path);

function unmounting(t: Test, mount: Mount): Background {
  const program = untilEnd(t, start([...product, 'umount', mount.path], { cwd: '/' }));
  return program;
}

const hasSaid = (program: Background, text: string) =>
  until(
    `it says: ${text}`,
    () => {
      if (program.outcome !== undefined) throw new Error(`it has ended: ${program.output}`);
      return program.output.includes(text);
    },
    PATIENCE_MS,
  );

t.test(
  'umount names the data that it waits for, and ^C leaves the mount as it was',
  { timeout: 180_000 },
  async (t) => {
    const where = await ground(t);
    const { mount, proxy } = where;
    await leaveUnwritten(t, where, 'na\x1bme');
    const program = unmounting(t, mount);
    await hasSaid(program, 'is still mounted: waiting for the server to take');
    t.match(
      program.output,
      /take 0\.04 MiB of 1 file: \/na\\x1bme \(0\.04 MiB\)\. \^C leaves the mount as it is/,
    );
    t.match(program.output, /umount --force.* loses that/);
    t.equal(program.output.split('\n').length, 2, 'said once, on one line');
    program.signal('SIGINT');
    t.equal((await program.ended).status, 130);
    t.match(program.output, /Interrupted: .* stays mounted\. Not written back yet: 0\.04 MiB of 1 file/);
    t.ok(mount.entry, 'mounted');
    t.equal(mount.outcome, undefined, 'and served');
    proxy.release();
    await until('the data is there', () => where.served('na\x1bme').equals(DATA), PATIENCE_MS);
    t.match(await nfsFuse(['umount', mount.path]), { status: 0 });
    t.match(await mount.exit(PATIENCE_MS), { status: 0, signal: null });
  },
);

t.test('umount ends when the server accepts the data at last', { timeout: 180_000 }, async (t) => {
  const where = await ground(t);
  await leaveUnwritten(t, where, 'file');
  const program = unmounting(t, where.mount);
  await hasSaid(program, 'is still mounted');
  where.proxy.release();
  t.equal((await program.ended).status, 0, program.output);
  t.equal(where.mount.entry, undefined, 'unmounted');
  t.ok(where.served('file').equals(DATA), 'nothing is lost');
});

t.test('umount fails when the server refuses the data', { timeout: 180_000 }, async (t) => {
  const where = await ground(t);
  await leaveUnwritten(t, where, 'file');
  const program = unmounting(t, where.mount);
  await hasSaid(program, 'is still mounted');
  where.server.faults.add({ procedure: 'WRITE', status: 28, times: Number.POSITIVE_INFINITY });
  where.proxy.release();
  t.equal((await program.ended).status, 1);
  t.match(program.output, /\/file: data was lost: .*\n +Check the files/);
  t.notMatch(program.output, STACK_TRACE);
  t.equal(where.mount.entry, undefined, 'unmounted');
});

t.test(
  'umount --force gives up data that the server does not accept, and names it',
  { timeout: 180_000 },
  async (t) => {
    const where = await ground(t);
    const { mount } = where;
    await leaveUnwritten(t, where, 'file');
    const forced = await nfsFuse(['umount', '--force', mount.path], { timeoutMs: 120_000 });
    t.equal(forced.status, 1);
    t.match(forced.stderr, /is unmounted\. Lost: 0\.04 MiB of 1 file: \/file \(0\.04 MiB\)\.\n/);
    t.notMatch(forced.stderr, STACK_TRACE);
    t.equal(mount.entry, undefined, 'unmounted');
    t.match(await mount.exit(PATIENCE_MS), { status: 1, signal: null });
    t.match(mount.log, /Lost: 0\.04 MiB of 1 file: \/file/);
  },
);

t.test('umount --force loses nothing that the server accepts', { timeout: 180_000 }, async (t) => {
  const where = await ground(t);
  const { mount } = where;
  const agent = await mount.agent();
  const fd = await agent.open('file', O_CREAT | O_RDWR);
  await agent.pwrite(fd, DATA, 0);
  t.match(await nfsFuse(['umount', '--force', mount.path]), { status: 0, stderr: '' });
  t.ok(where.served('file').equals(DATA));
  t.equal(mount.entry, undefined, 'unmounted');
  await mount.exit(PATIENCE_MS);
});

t.test('umount --lazy says what is still to be written back', { timeout: 180_000 }, async (t) => {
  const where = await ground(t);
  const { mount } = where;
  await leaveUnwritten(t, where, 'file');
  const lazy = await nfsFuse(['umount', '--lazy', mount.path]);
  t.equal(lazy.status, 0);
  t.match(
    lazy.stderr,
    new RegExp(`process ${mount.pid} still has to write back 0\\.04 MiB of 1 file: /file`),
  );
  where.proxy.release();
  t.match(await mount.exit(PATIENCE_MS), { status: 0, signal: null });
  t.ok(where.served('file').equals(DATA));
});

t.test(
  'SIGTERM waits for the server with a message, and a second SIGTERM names what is lost',
  { timeout: 180_000 },
  async (t) => {
    const where = await ground(t);
    const { mount } = where;
    await leaveUnwritten(t, where, 'file');
    mount.signal('SIGTERM');
    const waits =
      'Waiting for the server to write back 0.04 MiB of 1 file: /file (0.04 MiB). Another SIGTERM';
    await until('it says that it waits', () => mount.log.includes(waits), PATIENCE_MS);
    t.equal(mount.outcome, undefined, 'it goes on');
    mount.signal('SIGTERM');
    t.match(await mount.exit(PATIENCE_MS), { status: 1, signal: null });
    t.match(
      mount.log,
      /Ended at once \(second SIGTERM\)\. Lost: 0\.04 MiB of 1 file: \/file \(0\.04 MiB\)\./,
    );
  },
);
