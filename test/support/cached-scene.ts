/** Mounts with a cache on the local disk (fsc), one after the other or side by side, and another client that changes files. */
import { join } from 'node:path';
import type { Test } from 'tap';
import { statsOf } from './embedded-mount.js';
import { Mount } from './mount.js';
import { openPlace, type Place, type PlaceName } from './places.js';
import { until } from './process.js';
import { SeededRandom } from './seeded-random.js';
import { untilEnd } from './until-end.js';
import { type ServerName, startServer, type TestServer } from './variants.js';

/** More than any server's clock takes for a tick. */
const TICK_NS = 40_000_000n;

export const random = new SeededRandom(Number(process.env.NFS_FUSE_TEST_SEED ?? 1));

export interface CachedScene {
  readonly place: Place;
  readonly server: TestServer;
  /** The folder of the cache, which need not exist. */
  readonly cache: string;
  /** Another client, without a cache on the disk. */
  readonly other: Mount;
  mount(options?: readonly string[]): Promise<Mount>;
  /** The other client writes a file, and waits until a newer ctime is there: the server's clock is seen to have gone on. */
  put(name: string, data: Buffer): Promise<void>;
}

export async function cachedScene(
  t: Test,
  kind: ServerName = 'embedded',
  placeName: PlaceName = 'root',
): Promise<CachedScene> {
  const place = untilEnd(t, await openPlace(placeName));
  const server = untilEnd(t, await startServer(kind, place));
  const cache = join(place.folder, 'cache');
  const mount = async (options: readonly string[] = [`fsc=${cache}`]) => {
    const made = untilEnd(t, await Mount.start({ source: server, place, options, asUsual: true }));
    await made.served();
    return made;
  };
  const other = await mount(['actimeo=0', 'lookupcache=none']);
  const agent = await other.agent();
  return {
    place,
    server,
    cache,
    other,
    mount,
    async put(name, data) {
      await agent.writeFile(name, data);
      await tick(agent, name);
    },
  };
}

type Files = Awaited<ReturnType<Mount['agent']>>;

/** Makes files until the root, which every mount sees first, was changed later than `name`. */
export async function tick(agent: Files, name: string): Promise<void> {
  const { ctimeNs } = await agent.stat(name);
  await until('the clock of the server goes on', async () => {
    await agent.writeFile(`marker${random.below(1e9)}`, '');
    return (await agent.stat('.')).ctimeNs > ctimeNs + TICK_NS;
  });
}

/** The content of a file, read from its start to its end by another process. */
export async function cat(mount: Mount, name: string): Promise<Buffer> {
  return Buffer.from(await mount.mustRun(['base64', '-w0', name]), 'base64');
}

/** Calls about files that the mount has made so far, and what came from the disk. */
export async function workOf(mount: Mount) {
  const { procedures, caches } = await statsOf(mount);
  if (caches.disk === undefined) throw new Error('this mount has no cache on the disk');
  const calls = (name: string): number => procedures.find(({ procedure }) => procedure === name)?.calls ?? 0;
  const names = ['GETATTR', 'LOOKUP', 'ACCESS', 'READ', 'READDIR', 'READDIRPLUS'];
  return {
    reads: calls('READ'),
    total: names.reduce((sum, name) => sum + calls(name), 0),
    disk: caches.disk,
  };
}

/** A part that could not be stored at once is stored by the next who reads it: so many mounts do. */
const MOST_READERS = 3;
const STORE_MS = 20_000;

/** Reads the file with one mount after the other, until one has all of it from the disk. */
export async function readAndStore(
  t: Test,
  mount: CachedScene['mount'],
  name: string,
  data: Buffer,
): Promise<void> {
  const seen: unknown[] = [];
  for (let reader = 1; reader <= MOST_READERS; reader++) {
    const one = await mount();
    t.ok((await cat(one, name)).equals(data), `${name} is as it is on the server`);
    let work = await workOf(one);
    // Data that was asked for twice may be stored twice.
    const isThere = () => work.disk.bytesRead + work.disk.bytesStored >= data.length;
    const end = Date.now() + STORE_MS;
    while (!isThere() && Date.now() < end) work = await workOf(one);
    t.equal((await one.unmount()).status, 0);
    if (isThere()) return;
    seen.push(work);
  }
  t.fail(`all of ${data.length} bytes is stored`, { seen });
}

/** A big file, read again after a remount, and changed between mounts in every way that could be overlooked. */
export function remounts(t: Test, kind: ServerName): void {
  t.test(
    `${kind}: a big file is read again after a remount with three calls, and changes are seen`,
    { timeout: 600_000 },
    async (t) => {
      const { mount, put, other } = await cachedScene(t, kind);
      const agent = await other.agent();
      const data = random.bytes(12 * 1024 * 1024 + 77);
      await put('big', data);
      await readAndStore(t, mount, 'big', data);
      const again = await mount();
      const before = (await workOf(again)).total;
      t.ok((await cat(again, 'big')).equals(data));
      const { reads, total, disk } = await workOf(again);
      t.equal(reads, 0);
      t.ok(total - before <= 3, `${total - before} calls`);
      t.equal(disk.bytesRead, data.length);
      t.equal((await again.unmount()).status, 0);

      const changed = random.bytes(data.length);
      await other.mustRun(['touch', '-r', 'big', 'times']);
      await agent.writeFile('big', changed);
      await other.mustRun(['touch', '-r', 'times', 'big']);
      await tick(agent, 'big');
      await readAndStore(t, mount, 'big', changed);

      const replaced = random.bytes(data.length);
      await agent.writeFile('new', replaced);
      await other.mustRun(['touch', '-r', 'times', 'new']);
      await other.mustRun(['mv', 'new', 'big']);
      await tick(agent, 'big');
      await readAndStore(t, mount, 'big', replaced);
    },
  );
}
