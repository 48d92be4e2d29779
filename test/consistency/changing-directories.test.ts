/** Directories that change while they are read or removed: nothing is lost, repeated or left over. */
import { mkdirSync, readdirSync } from 'node:fs';
import t from 'tap';
import { Agent, errnoOf } from '../support/agent.js';
import { twoMounts } from '../support/two-mounts.js';
import { untilEnd } from '../support/until-end.js';

const MANY = 50_000;

for (const kind of ['ganesha', 'embedded'] as const) {
  t.test(`readdir and unlink over ${MANY} entries, ${kind}`, { timeout: 240_000 }, async (t) => {
    const { server, a } = await twoMounts(t, kind);
    const disk = untilEnd(t, await Agent.start({ cwd: server.directory }));
    mkdirSync(`${server.directory}/many`);
    for (let first = 0; first < MANY; first += 10_000) await disk.makeFiles('many', 'name', first, 10_000);
    const fs = await a.mount.agent({ timeoutMs: 200_000 });
    t.same(await fs.unlinkWhileReading('many'), { unlinked: MANY, absent: 0 }, 'each name once, and all');
    t.same(readdirSync(`${server.directory}/many`), []);
    await fs.rmdir('many');
  });

  t.test(`rm -rf of a tree while another client creates in it, ${kind}`, { timeout: 120_000 }, async (t) => {
    const { server, a, b } = await twoMounts(t, kind);
    for (let round = 0; round < 5; round++) {
      await a.fs.mkdir('tree');
      for (let folder = 0; folder < 10; folder++) {
        await a.fs.mkdir(`tree/folder${folder}`);
        await a.fs.makeFiles(`tree/folder${folder}`, 'file', 0, 20);
      }
      const creating = (async () => {
        const errors = new Set<string>();
        for (let index = 0; index < 300; index++) {
          errors.add(await errnoOf(b.fs.writeFile(`tree/folder${index % 10}/other${index}`, 'x')));
        }
        return errors;
      })();
      const removed = await a.mount.run(['rm', '-rf', 'tree']);
      const complaints = removed.stderr.toString().trim();
      t.notMatch(
        complaints,
        /stale|input\/output/i,
        'rm meets no error that a local file system does not have',
      );
      // EIO: rm took the file between its CREATE and its WRITE, and its data cannot be written any more.
      const expected = new Set(['no error', 'ENOENT', 'EIO']);
      const errors = [...(await creating)].filter((code) => !expected.has(code));
      t.same(errors, [], 'the creator meets none either, unless its file is removed while it writes');
      // rm now also removes the files that were made behind its back, since nobody makes more.
      await a.mount.mustRun(['rm', '-rf', 'tree']);
      t.same(readdirSync(server.directory), [], 'nothing is left');
      t.equal(await errnoOf(b.fs.stat('tree/folder1/none')), 'ENOENT');
    }
  });

  t.test(`a listing while another client creates and removes, ${kind}`, async (t) => {
    const { a, b } = await twoMounts(t, kind, ['actimeo=1']);
    await a.fs.mkdir('busy');
    await a.fs.makeFiles('busy', 'stays', 0, 1000);
    for (let round = 0; round < 20; round++) {
      const changing = (async () => {
        await b.fs.makeFiles('busy', `round${round}-`, 0, 20);
        for (let index = 0; index < 20; index += 2) {
          await b.fs.unlink(`busy/round${round}-${String(index).padStart(7, '0')}`);
        }
      })();
      const stream = await a.fs.dirOpen('busy');
      const seen = (await a.fs.dirRest(stream)).map(String).filter((name) => name.startsWith('stays'));
      await a.fs.dirClose(stream);
      await changing;
      if (seen.length !== 1000 || new Set(seen).size !== 1000) t.fail(`round ${round}: ${seen.length} names`);
    }
    t.equal((await b.fs.list('busy')).length, 1000 + 20 * 10);
  });
}
