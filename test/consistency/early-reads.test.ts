/** READs that go out along with an open, seen from two clients: never older than without, and never by who may not read. */
import { constants } from 'node:fs';
import t from 'tap';
import { tickAfter, twoMounts } from '../support/two-mounts.js';

const { O_RDONLY } = constants;
const FILES = 60;
/** After as many files in vain it would no longer be tried. */
const HELD = 3;

for (const kind of ['ganesha', 'embedded'] as const) {
  for (const options of kind === 'ganesha' ? [[], ['noearlyread']] : [[]]) {
    const what = `${kind}, ${options.join(',') || 'as usual'}`;

    t.test(`known by stat, then changed elsewhere: an open reads the change, ${what}`, async (t) => {
      const { server, a, b } = await twoMounts(t, kind, options);
      for (let i = 0; i < FILES; i++) await a.fs.writeFile(`file${i}`, `old ${i}`);
      await tickAfter(server, `file${FILES - 1}`);
      const wrong: string[] = [];
      for (let i = 0; i < FILES; i++) {
        await b.fs.stat(`file${i}`);
        const expected = `${i % 2 === 0 ? 'new' : 'much longer'} ${i}`;
        await a.fs.writeFile(`file${i}`, expected);
        const seen = (await b.fs.readFile(`file${i}`)).toString();
        if (seen !== expected) wrong.push(seen);
      }
      t.same(wrong, []);
    });

    t.test(`opened, then changed elsewhere, then read or mapped: the change is there, ${what}`, async (t) => {
      const { server, a, b } = await twoMounts(t, kind, options);
      for (const name of ['read', 'mapped']) {
        for (let i = 0; i < HELD; i++) {
          const path = `${name}${i}`;
          await a.fs.writeFile(path, 'before');
          await tickAfter(server, path);
          const held = await b.fs.open(path, O_RDONLY);
          await a.fs.writeFile(path, 'after!');
          if (name === 'read') t.equal((await b.fs.pread(held, 100, 0)).toString(), 'after!');
          else {
            const map = await b.fs.mmap(held, 6, false);
            t.equal((await b.fs.mapRead(map, 0, 6)).toString(), 'after!');
            await b.fs.munmap(map);
          }
          await b.fs.closeFd(held);
        }
      }
    });

    t.test(`a program is executed and a script is run as they are on the server, ${what}`, async (t) => {
      const { server, a, b } = await twoMounts(t, kind, options);
      for (let i = 0; i < 10; i++) {
        await a.fs.writeFile('script', `#!/bin/sh\necho run ${i}\n`);
        await a.fs.chmod('script', 0o755);
        t.equal(await b.mount.mustRun(['./script']), `run ${i}\n`);
        await tickAfter(server, 'script');
      }
    });

    t.test(
      `a user who may not read gets EACCES, and another who may gets the content, ${what}`,
      async (t) => {
        const { a, b } = await twoMounts(t, kind, [...options, 'allow_other']);
        await a.fs.writeFile('secret', 'secret');
        await a.fs.chmod('secret', 0o600);
        const stranger = await b.mount.agent();
        await stranger.become(2345, 2345, []);
        for (let i = 0; i < 3; i++) {
          await t.rejects(stranger.readFile('secret'), { code: 'EACCES' });
          t.equal((await b.fs.readFile('secret')).toString(), 'secret');
        }
      },
    );
  }
}
