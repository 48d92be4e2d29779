/** When fsync(2) has returned, the data is on the server's disk, even if server or client is killed at once. */
import { constants, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { EmbeddedServer } from '../../lib/server/index.js';
import { exportFolder } from '../support/folders.js';
import { Ganesha } from '../support/ganesha.js';
import { Mount, type MountSource } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { SeededRandom } from '../support/seeded-random.js';
import { untilEnd } from '../support/until-end.js';

const { O_APPEND, O_CREAT, O_RDWR, O_WRONLY } = constants;
const ROUNDS = 12;

async function mounted(t: Test, source: MountSource): Promise<Mount> {
  const place = untilEnd(t, await openPlace('root'));
  const mount = untilEnd(t, await Mount.start({ source, place, options: ['hard', 'timeo=20', 'retrans=1'] }));
  return mount;
}

/** Scattered writes of a file, and what it must hold then. */
function scattered(random: SeededRandom): { writes: { data: Buffer; offset: number }[]; content: Buffer } {
  const writes = Array.from({ length: random.between(1, 12) }, () => ({
    data: random.bytes(random.pick([1, 700, 4096, 30_000, 200_000])),
    offset: random.below(300_000),
  }));
  const content = Buffer.alloc(Math.max(...writes.map(({ data, offset }) => offset + data.length)));
  for (const { data, offset } of writes) data.copy(content, offset);
  return { writes, content };
}

/** Compares without printing both. */
function same(t: Test, actual: Buffer, expected: Buffer, what: string): void {
  if (!actual.equals(expected))
    t.fail(`${what}: ${actual.length} bytes, not the ${expected.length} expected`);
}

t.test('SIGKILL of the server right after fsync', { timeout: 300_000 }, async (t) => {
  const server = untilEnd(t, await Ganesha.start());
  const mount = await mounted(t, server);
  const fs = await mount.agent();
  const random = new SeededRandom(21);
  for (let round = 0; round < ROUNDS; round++) {
    const name = `file${round}`;
    const { writes, content } = scattered(random);
    const fd = await fs.open(name, O_CREAT | O_RDWR);
    for (const { data, offset } of writes) await fs.pwrite(fd, data, offset);
    await fs.fsync(fd);
    await server.kill();
    same(t, readFileSync(join(server.directory, name)), content, `${name} on disk`);
    await server.start();
    same(t, await fs.readFile(name), content, `${name} through the mount`);
    await fs.closeFd(fd);
  }
  t.equal(readdirSync(server.directory).length, ROUNDS);
});

t.test('a server that loses all data that no COMMIT covers', { timeout: 300_000 }, async (t) => {
  const exported = untilEnd(t, exportFolder());
  const server = untilEnd(t, await EmbeddedServer.start({ path: exported.path, undoUnstable: true }));
  const mountOptions = [`port=${server.port}`, `mountport=${server.port}`, `nlmport=${server.port}`];
  const mount = await mounted(t, { host: '127.0.0.1', exportPath: server.exportName, mountOptions });
  const fs = await mount.agent();
  const random = new SeededRandom(22);
  for (let round = 0; round < ROUNDS * 2; round++) {
    const name = `file${round}`;
    const path = join(exported.path, name);
    const { writes, content } = scattered(random);
    const fd = await fs.open(name, O_CREAT | O_RDWR);
    const crash = random.below(writes.length + 1);
    for (const [index, { data, offset }] of writes.entries()) {
      await fs.pwrite(fd, data, offset);
      // The server also crashes in the middle of it: data that was sent is lost, and has to be sent again.
      if (index === crash) await server.restart({ loseUncommitted: true });
    }
    if (random.oneIn(2)) await fs.fsync(fd);
    else await fs.fdatasync(fd);
    await server.restart({ loseUncommitted: true });
    same(t, readFileSync(path), content, `${name} on disk`);
    // Data that close(2) has written is as safe.
    await fs.pwrite(fd, Buffer.from('closed'), 5);
    await fs.closeFd(fd);
    Buffer.from('closed').copy(content, 5);
    const full =
      content.length < 11 ? Buffer.concat([content.subarray(0, 5), Buffer.from('closed')]) : content;
    await server.restart({ loseUncommitted: true });
    same(t, readFileSync(path), full, `${name} on disk after close`);
  }
  t.equal(readdirSync(exported.path).length, ROUNDS * 2);
});

t.test(
  'data that a crash took and that is not written again yet: reads, sizes and appends are still right',
  async (t) => {
    const exported = untilEnd(t, exportFolder());
    const server = untilEnd(t, await EmbeddedServer.start({ path: exported.path, undoUnstable: true }));
    const mountOptions = [`port=${server.port}`, `mountport=${server.port}`, `nlmport=${server.port}`];
    const source = { host: '127.0.0.1', exportPath: server.exportName, mountOptions };
    const place = untilEnd(t, await openPlace('root'));
    const mount = untilEnd(t, await Mount.start({ source, place }));
    const fs = await mount.agent();
    // Neither begins nor ends with a page, and has a hole: the kernel has to ask for the pages at the ends.
    const content = new SeededRandom(24).bytes(50_001);
    content.fill(0, 10_001, 40_000);
    const fd = await fs.open('file', O_CREAT | O_RDWR);
    await fs.pwrite(fd, content.subarray(2, 10_001), 2);
    await fs.pwrite(fd, content.subarray(40_000), 40_000);
    await fs.pread(fd, 1, 40_000);
    t.equal(readFileSync(join(exported.path, 'file')).length, content.length, 'sent');
    await server.restart({ loseUncommitted: true });
    t.equal(readFileSync(join(exported.path, 'file')).length, 0, 'the server has lost it');
    content.fill(0, 0, 2);
    same(t, await fs.pread(fd, 5, 10_100), Buffer.alloc(5), 'in the hole');
    same(t, await fs.pread(fd, 60_000, 0), content, 'read');
    t.equal((await fs.fstat(fd)).size, content.length);
    const appending = await fs.open('file', O_APPEND | O_WRONLY);
    await fs.write(appending, 'appended');
    await fs.closeFd(appending);
    await fs.fsync(fd);
    await server.restart({ loseUncommitted: true });
    same(
      t,
      readFileSync(join(exported.path, 'file')),
      Buffer.concat([content, Buffer.from('appended')]),
      'on disk',
    );
  },
);

t.test('SIGKILL of nfs-fuse right after fsync', { timeout: 300_000 }, async (t) => {
  const server = untilEnd(t, await Ganesha.start());
  const place = untilEnd(t, await openPlace('root'));
  const random = new SeededRandom(23);
  let at: string | undefined;
  for (let round = 0; round < 5; round++) {
    const mount = untilEnd(
      t,
      await Mount.start({ source: server, place, ...(at === undefined ? {} : { at }) }),
    );
    at = mount.path;
    const fs = await mount.agent();
    const { writes, content } = scattered(random);
    const fd = await fs.open(`file${round}`, O_CREAT | O_RDWR);
    for (const { data, offset } of writes) await fs.pwrite(fd, data, offset);
    await fs.fsync(fd);
    await mount.kill();
    same(t, readFileSync(join(server.directory, `file${round}`)), content, `file${round} on disk`);
    await mount.closeAgents();
  }
  t.equal(readdirSync(server.directory).length, 5);
});
