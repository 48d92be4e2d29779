/**
 * Servers whose clock or whose replies do not tell which of two states of a file is the later one. A file still shows
 * at once what was written to it.
 */
import { constants, writeFileSync } from 'node:fs';
import t from 'tap';
import type { EmbeddedServer } from '../../lib/server/index.js';
import { embeddedMount } from '../support/embedded-mount.js';
import * as odd from '../support/odd-attributes.js';

const { O_CREAT, O_WRONLY, O_RDWR, O_APPEND, O_SYNC } = constants;

const SERVERS: readonly (readonly [string, (server: EmbeddedServer) => void])[] = [
  ['without attributes from before, and with ctimes of changes rounded down', odd.roundsChanges],
  ['whose clock is stepped back', (server) => odd.stepsBack(server, 3600)],
  [
    'whose clock is stepped back, without attributes from before',
    (server) => {
      odd.stepsBack(server, 3600);
      odd.saysNothingOfBefore(server);
    },
  ],
  ['with whole seconds', odd.hasWholeSeconds],
];

for (const [what, misbehave] of SERVERS) {
  t.test(`a server ${what}`, async (t) => {
    const { agent, server, onServer } = await embeddedMount(t);
    await agent.writeFile('known', 'known');
    await agent.lstat('known');
    misbehave(server);

    await t.test('write, fsync, close, stat', async (t) => {
      for (const name of ['known', 'new']) {
        const fd = await agent.open(name, O_CREAT | O_WRONLY);
        await agent.write(fd, 'x'.repeat(10_000));
        await agent.fsync(fd);
        await agent.closeFd(fd);
        t.equal((await agent.lstat(name)).size, 10_000, name);
        t.equal((await agent.readFile(name)).length, 10_000, name);
      }
    });

    await t.test('many synchronous writes at once', async (t) => {
      const fd = await agent.open('synchronous', O_CREAT | O_RDWR | O_SYNC);
      for (let at = 0; at < 8; at++) {
        await agent.pwrite(fd, Buffer.alloc(5000, 65 + at), at * 5000);
        t.equal((await agent.fstat(fd)).size, (at + 1) * 5000);
      }
      await agent.closeFd(fd);
    });

    await t.test('appends', async (t) => {
      for (let line = 0; line < 5; line++) {
        const fd = await agent.open('log', O_CREAT | O_WRONLY | O_APPEND);
        await agent.write(fd, `line ${line}\n`);
        await agent.closeFd(fd);
        t.equal((await agent.lstat('log')).size, 7 * (line + 1));
      }
      t.equal((await agent.readFile('log')).toString(), 'line 0\nline 1\nline 2\nline 3\nline 4\n');
    });

    await t.test('truncate and chmod', async (t) => {
      await agent.truncate('new', 77);
      t.equal((await agent.lstat('new')).size, 77);
      await agent.chmod('new', 0o600);
      t.match(await agent.lstat('new'), { size: 77, mode: 0o100600 });
      await agent.truncate('new', 5000);
      t.equal((await agent.lstat('new')).size, 5000);
    });

    await t.test('names', async (t) => {
      for (let round = 0; round < 3; round++) {
        await agent.mkdir(`folder${round}`);
        await agent.writeFile(`folder${round}/file`, 'x');
        await agent.rename(`folder${round}/file`, `folder${round}/renamed`);
        await agent.link(`folder${round}/renamed`, `link${round}`);
        t.equal((await agent.lstat(`link${round}`)).nlink, 2);
        await agent.unlink(`folder${round}/renamed`);
        t.equal((await agent.lstat(`link${round}`)).nlink, 1);
        t.same((await agent.list(`folder${round}`)).map(String), []);
      }
    });

    await t.test("a program that opens a file sees another client's changes", async (t) => {
      for (const content of ['another', 'and another one', 'x']) {
        writeFileSync(onServer('known'), content);
        t.equal((await agent.readFile('known')).toString(), content);
      }
    });
  });
}
