/** Unmounting when the server does not answer: what is said, what is waited for, and what is lost. */
import { constants, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { EmbeddedServer } from '../../lib/server/index.js';
import { statsOf } from '../support/embedded-mount.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { publicFolder } from '../support/folders.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { type Background, mustRun, start, until } from '../support/process.js';
import { nfsFuse, product, STACK_TRACE } from './product.js';

const { O_CREAT, O_RDWR } = constants;
// They wait more than they work.
t.jobs = 4;
const PATIENCE_MS = 60_000;
const BYTES = 40_000;
const DATA = Buffer.alloc(BYTES, 'unwritten ');

interface Ground {
  readonly server: EmbeddedServer;
  readonly proxy: FaultProxy;
  readonly mount: Mount;
  /** `path` on the server's disk. */
  readonly served: (path: string) => Buffer;
}

/** A mount through a proxy that can hold everything back, which is what a dead server looks like. */
async function ground(t: Test): Promise<Ground> {
  const scratch = publicFolder();
  t.teardown(() => scratch.remove());
  const folder = join(scratch.path, 'served');
  await mustRun(['mkdir', folder]);
  const server = await EmbeddedServer.start({ path: folder });
  t.teardown(() => server.close());
  const { port } = server;
  if (port === undefined) throw new Error('the server does not listen');
  const proxy = await FaultProxy.start({ upstream: port });
  t.teardown(() => proxy.close());
  const place = await openPlace('root');
  t.teardown(() => place.close());
  const mountOptions = [`port=${proxy.port}`, `mountport=${proxy.port}`];
  const source = { host: '127.0.0.1', exportPath: server.exportName, mountOptions };
  const mount = await Mount.start({ source, place, options: ['timeo=3', 'retrans=1'] });
  t.teardown(async () => {
    proxy.release();
    await mount.close();
  });
  return { server, proxy, mount, served: (path) => readFileSync(join(folder, path)) };
}

/** A file with data that the server never got, and whose writer is gone: nothing keeps the mount in use. */
async function leaveUnwritten({ proxy, mount }: Ground, path: string): Promise<void> {
  const agent = await mount.agent();
  const fd = await agent.open(path, O_CREAT | O_RDWR);
  proxy.hold();
  await agent.pwrite(fd, DATA, 0);
  agent.process.signal('SIGKILL');
  await agent.process.ended;
  const { unwritten } = await statsOf(mount);
  t.same({ bytes: unwritten.bytes, files: unwritten.files }, { bytes: BYTES, files: 1 });
}

function unmounting(t: Test, mount: Mount): Background {
  const program = start([...product, 'umount', mount.path], { cwd: '/' });
  t.teardown(() => program.stop());
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
  'umount says what it waits for, and ^C leaves the mount as it was',
  { timeout: 180_000 },
  async (t) => {
    const where = await ground(t);
    const { mount, proxy } = where;
    await leaveUnwritten(where, 'na\x1bme');
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

t.test('umount ends when the server takes the data at last', { timeout: 180_000 }, async (t) => {
  const where = await ground(t);
  await leaveUnwritten(where, 'file');
  const program = unmounting(t, where.mount);
  await hasSaid(program, 'is still mounted');
  where.proxy.release();
  t.equal((await program.ended).status, 0, program.output);
  t.equal(where.mount.entry, undefined, 'unmounted');
  t.ok(where.served('file').equals(DATA), 'nothing is lost');
});

t.test('umount fails when the server refuses the data', { timeout: 180_000 }, async (t) => {
  const where = await ground(t);
  await leaveUnwritten(where, 'file');
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
  'umount --force gives up what the server does not take, and says so',
  { timeout: 180_000 },
  async (t) => {
    const where = await ground(t);
    const { mount } = where;
    await leaveUnwritten(where, 'file');
    const forced = await nfsFuse(['umount', '--force', mount.path], { timeoutMs: 120_000 });
    t.equal(forced.status, 1);
    t.match(forced.stderr, /is unmounted\. Lost: 0\.04 MiB of 1 file: \/file \(0\.04 MiB\)\.\n/);
    t.notMatch(forced.stderr, STACK_TRACE);
    t.equal(mount.entry, undefined, 'unmounted');
    t.match(await mount.exit(PATIENCE_MS), { status: 1, signal: null });
    t.match(mount.log, /Lost: 0\.04 MiB of 1 file: \/file/);
  },
);

t.test('umount --force loses nothing that the server takes', { timeout: 180_000 }, async (t) => {
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
  await leaveUnwritten(where, 'file');
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
  'SIGTERM waits for the server and says so, a second one says what is lost',
  { timeout: 180_000 },
  async (t) => {
    const where = await ground(t);
    const { mount } = where;
    await leaveUnwritten(where, 'file');
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
