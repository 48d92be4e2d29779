/** The open files of the cache on the local disk. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { FileHandle } from '../../../lib/programs/nfs3/index.js';
import { BlockMemory } from '../../../lib/vfs/disk-cache/block-memory.js';
import { CacheFolder } from '../../../lib/vfs/disk-cache/cache-folder.js';
import { BLOCK, type EntryKey, entryKey } from '../../../lib/vfs/disk-cache/entry-format.js';
import { OpenEntries } from '../../../lib/vfs/disk-cache/open-entries.js';
import { ManualClock } from '../../rpc/support/manual-clock.js';
import { file } from '../support/attributes.js';

/** The file as after so many changes. */
function version(changes: number): EntryKey {
  const of = { host: 'server', port: 2049, exportPath: Buffer.from('/export') };
  const key = entryKey(of, 'handle' as FileHandle, file(changes, { size: BigInt(BLOCK) }));
  if (key === undefined) throw new Error('no key');
  return key;
}

t.test('who stores or reads a new version does not wait until an old one is removed', async (t) => {
  const path = mkdtempSync(join(tmpdir(), 'nfs-fuse-test-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  const folder = await CacheFolder.open(path, '/nowhere');
  t.teardown(() => folder.close());
  let letGo = (): void => {};
  const large = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const removing: string[] = [];
  const entries = new OpenEntries(folder, new ManualClock(), async (name) => {
    removing.push(name);
    await large;
    await unlink(name);
  });
  t.teardown(() => entries.close());
  const data = Buffer.alloc(BLOCK, 1);
  const store = (key: EntryKey) => entries.write(key, (entry) => entry.store(0, data));
  await store(version(1));
  t.same(removing, []);
  t.ok((await store(version(2))) ?? 0);
  const memory = new BlockMemory();
  const kept = await entries.read(version(2), (entry) => entry.read(0, BLOCK, memory));
  t.ok(kept?.data?.equals(data));
  t.same(removing, [folder.entry(version(1).name)]);
  t.ok(existsSync(folder.entry(version(1).name)));
  let areGone = false;
  const gone = entries.removed().then(() => {
    areGone = true;
  });
  await store(version(2));
  t.equal(areGone, false);
  letGo();
  await gone;
  t.notOk(existsSync(folder.entry(version(1).name)));
  t.ok(existsSync(folder.entry(version(2).name)));
});
