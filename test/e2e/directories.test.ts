/** Reading directories: large ones as a whole, going back to positions, and changes while a directory is read. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { Agent } from '../support/agent.js';
import { showBehaviours } from '../support/behaviours.js';
import { untilEnd } from '../support/until-end.js';
import { AS_ROOT, EVERYWHERE, overVariants } from '../support/variants.js';

/** Entries of the directory that is listed, and of the one that is emptied. */
const SIZES = { large: 100_000, many: 10_000 };
/** A server in a guest is slow at each entry. */
const SIZES_IN_GUEST = { large: 20_000, many: 2000 };

overVariants(t, { ...AS_ROOT, timeoutMs: 240_000 }, async (t, { mount, server, serverName }) => {
  const { large, many } = serverName === 'knfsd' ? SIZES_IN_GUEST : SIZES;
  const fs = await mount.agent({ timeoutMs: 120_000 });
  const disk = untilEnd(t, await Agent.start({ cwd: server.directory, timeoutMs: 120_000 }));
  const makeFiles = (folder: string, prefix: string, count: number) =>
    server.makeFiles?.(folder, prefix, count) ?? disk.makeFiles(folder, prefix, 0, count);

  await t.test(`a directory of ${large} entries`, async (t) => {
    mkdirSync(`${server.directory}/large`);
    await makeFiles('large', 'a-name-of-usual-length-', large);
    const complete = { entries: large + 2, repeated: 0, missing: 0, others: 0 };
    t.same(await fs.checkListing('large', 'a-name-of-usual-length-', large), complete, 'complete and unique');
    t.same(
      await fs.checkListing('large', 'a-name-of-usual-length-', large),
      complete,
      'once more, from caches',
    );
    await t.test('seekdir goes back to where telldir was', async (t) => {
      await seekAbout(t, fs, large);
    });
    await fs.writeFile('large/one-more', 'x');
    const { others, missing } = await fs.checkListing('large', 'a-name-of-usual-length-', large);
    t.same([others, missing], [1, 0], 'a new name is listed at once');
  });

  await t.test(`ls -l of a directory of ${many} entries, and unlinking while reading it`, async (t) => {
    mkdirSync(`${server.directory}/many`);
    await makeFiles('many', 'name', many);
    const found = await mount.mustRun(['sh', '-c', 'ls -lU many | wc -l']);
    t.equal(Number(found), many + 1, 'ls -l');
    const removed = await fs.unlinkWhileReading('many');
    t.same(removed, { unlinked: many, absent: 0 }, 'each name is taken once');
    await fs.rmdir('many');
  });
});

/** Reads on from positions remembered on the way, in another order, in a directory of `large` entries. */
async function seekAbout(t: Test, fs: Agent, large: number): Promise<void> {
  const stream = await fs.dirOpen('large');
  const marks: { position: number | bigint; next: Buffer }[] = [];
  for (let step = 0; step < 6; step++) {
    const entry = await fs.dirNext(stream);
    if (!entry) throw new Error('the directory ended early');
    const [next] = await fs.dirRest(stream, 1);
    if (!next) throw new Error('the directory ended early');
    marks.push({ position: entry.position, next });
    await fs.dirRest(stream, Math.floor(large / 10) - 27);
  }
  for (const { position, next } of marks.reverse()) {
    await fs.dirSeek(stream, position);
    const [seen] = await fs.dirRest(stream, 1);
    t.equal(String(seen), String(next));
  }
  await fs.dirRewind(stream);
  t.equal((await fs.dirRest(stream)).length, large + 2, 'rewinddir starts again');
  await fs.dirClose(stream);
}

showBehaviours(t, EVERYWHERE, {
  'an empty directory has "." and ".."': async (t, { fs }) => {
    await fs.mkdir('empty');
    const stream = await fs.dirOpen('empty');
    t.same((await fs.dirRest(stream)).map(String).sort(), ['.', '..']);
    await fs.dirClose(stream);
  },

  'entries carry the inode and the type that stat shows': async (t, { fs }) => {
    const DT: Record<string, number> = { file: 8, folder: 4, link: 10, fifo: 1 };
    await fs.writeFile('file', 'x');
    await fs.mkdir('folder');
    await fs.symlink('file', 'link');
    await fs.mkfifo('fifo');
    const stream = await fs.dirOpen('.');
    const seen = new Map<string, { ino: bigint; type: number }>();
    for (let entry = await fs.dirNext(stream); entry; entry = await fs.dirNext(stream)) {
      seen.set(entry.name.toString(), { ino: BigInt(entry.ino), type: entry.type });
    }
    await fs.dirClose(stream);
    for (const [name, type] of Object.entries(DT)) {
      t.same(seen.get(name), { ino: (await fs.lstat(name)).ino, type }, name);
    }
    t.equal(seen.get('.')?.ino, (await fs.stat('.')).ino, 'the directory itself');
  },

  'a listing shows every change of this mount at once': async (t, { fs }) => {
    const names = async () => (await fs.list('.')).map(String);
    for (let round = 0; round < 20; round++) {
      await fs.writeFile(`file${round}`, 'x');
      if (!(await names()).includes(`file${round}`)) t.fail(`file${round} is not listed`);
      await fs.rename(`file${round}`, `renamed${round}`);
      const now = await names();
      if (!now.includes(`renamed${round}`) || now.includes(`file${round}`)) t.fail(`round ${round}: rename`);
      if (round % 2 === 0) await fs.unlink(`renamed${round}`);
    }
    t.equal((await names()).length, 10);
  },

  'names made and removed while a directory is read spoil nothing else': async (t, { fs }) => {
    await fs.mkdir('busy');
    await fs.makeFiles('busy', 'stays', 0, 1000);
    await fs.makeFiles('busy', 'goes', 0, 200);
    const stream = await fs.dirOpen('busy');
    const seen = await fs.dirRest(stream, 100);
    for (let index = 0; index < 200; index += 2) {
      await fs.unlink(`busy/goes${String(index).padStart(7, '0')}`);
      await fs.writeFile(`busy/comes${index}`, '');
    }
    seen.push(...(await fs.dirRest(stream)));
    await fs.dirClose(stream);
    const stayed = seen.map(String).filter((name) => name.startsWith('stays'));
    t.equal(stayed.length, 1000, 'what stays is listed');
    t.equal(new Set(stayed).size, 1000, 'once');
  },

  'a directory that another process removed ends quietly': async (t, { fs }) => {
    await fs.mkdir('gone');
    const stream = await fs.dirOpen('gone');
    await fs.rmdir('gone');
    const left = await fs.dirRest(stream).catch((error: { code: string }) => error.code);
    t.ok(left === 'ENOENT' || (Array.isArray(left) && left.length <= 2), `${left}`);
    await fs.dirClose(stream);
  },

  'find sees a tree as it is on the server': async (t, { fs, mount, server, folder }) => {
    for (let a = 0; a < 10; a++) {
      await fs.mkdir(`d${a}`);
      for (let b = 0; b < 10; b++) {
        mkdirSync(`${server.directory}/${folder}/d${a}/e${b}`);
        writeFileSync(`${server.directory}/${folder}/d${a}/e${b}/file`, '');
      }
    }
    const found = (await mount.mustRun(['find', folder, '-mindepth', '1'])).trimEnd().split('\n');
    const there = readdirSync(`${server.directory}/${folder}`, { recursive: true }).map(
      (name) => `${folder}/${name}`,
    );
    t.same(found.sort(), there.sort());
    t.equal(found.length, 210);
  },
});
