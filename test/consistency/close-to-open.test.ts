/** Close-to-open: a client that opens after the other has closed reads all that the other wrote, every time. */
import { constants, readFileSync } from 'node:fs';
import t from 'tap';
import { atTier } from '../support/tier.js';
import { type Client, tickAfter, twoMounts } from '../support/two-mounts.js';

const ROUNDS = atTier({ fast: 250, ci: 400, all: 1000 });

/** Content that names its round, so that a single byte of another round is noticed. */
function contentOf(round: number, size: number): Buffer {
  const line = `round ${String(round).padStart(6, '0')}\n`;
  return Buffer.alloc(size, line);
}

const SIZES = {
  'to the same size': () => 5000,
  'to a different size': (round: number) => 1 + ((round * 7919) % 20_000),
};

for (const kind of ['ganesha', 'embedded'] as const) {
  for (const [what, sizeOf] of Object.entries(SIZES)) {
    t.test(
      `${ROUNDS} times rewritten ${what}, by alternating writers, ${kind}`,
      { timeout: 240_000 },
      async (t) => {
        const { server, a, b } = await twoMounts(t, kind);
        await a.fs.writeFile('file', contentOf(0, sizeOf(0)));
        const wrong: string[] = [];
        for (let round = 1; round <= ROUNDS; round++) {
          const [writer, reader]: [Client, Client] = round % 2 === 0 ? [a, b] : [b, a];
          await tickAfter(server, 'file');
          const expected = contentOf(round, sizeOf(round));
          await writer.fs.writeFile('file', expected);
          const seen = await reader.fs.readFile('file');
          if (!seen.equals(expected))
            wrong.push(`round ${round}: ${seen.length} bytes, ${seen.subarray(0, 12)}`);
        }
        t.same(wrong, [], 'the reader always got the new content in full');
      },
    );
  }

  t.test(`rewritten in place while the reader keeps the file open, ${kind}`, async (t) => {
    const { server, a, b } = await twoMounts(t, kind);
    await a.fs.writeFile('file', contentOf(0, 300_000));
    const held = await b.fs.open('file', constants.O_RDONLY);
    t.ok((await b.fs.pread(held, 400_000, 0)).equals(contentOf(0, 300_000)));
    for (let round = 1; round <= 20; round++) {
      await tickAfter(server, 'file');
      const fd = await a.fs.open('file', constants.O_WRONLY);
      await a.fs.pwrite(fd, contentOf(round, 300_000), 0);
      await a.fs.closeFd(fd);
      const fresh = await b.fs.open('file', constants.O_RDONLY);
      const seen = await b.fs.pread(fresh, 400_000, 0);
      if (!seen.equals(contentOf(round, 300_000))) t.fail(`round ${round}: ${seen.subarray(0, 12)}`);
      await b.fs.closeFd(fresh);
    }
    t.ok(
      (await b.fs.pread(held, 400_000, 0)).equals(contentOf(20, 300_000)),
      'the old descriptor sees it, too',
    );
  });

  t.test(`a file grown by the other is read whole right after reopening, ${kind}`, async (t) => {
    const { server, a, b } = await twoMounts(t, kind);
    await a.fs.writeFile('log', '');
    let expected = '';
    for (let round = 0; round < 100; round++) {
      await tickAfter(server, 'log');
      const fd = await a.fs.open('log', constants.O_WRONLY | constants.O_APPEND);
      await a.fs.write(fd, `line ${round}\n`);
      await a.fs.closeFd(fd);
      expected += `line ${round}\n`;
      const seen = (await b.fs.readFile('log')).toString();
      if (seen !== expected) t.fail(`round ${round}: ${seen.length} bytes in place of ${expected.length}`);
    }
    t.equal((await b.fs.stat('log')).size, expected.length);
  });

  t.test(`O_APPEND of two clients overwrites nothing, ${kind}`, async (t) => {
    const { server, a, b } = await twoMounts(t, kind);
    await a.fs.writeFile('log', '');
    const flags = constants.O_WRONLY | constants.O_APPEND;
    const fds = [await a.fs.open('log', flags), await b.fs.open('log', flags)] as const;
    const expected: string[] = [];
    for (let round = 0; round < 100; round++) {
      for (const [who, client, fd] of [
        ['a', a, fds[0]],
        ['b', b, fds[1]],
      ] as const) {
        await client.fs.write(fd, `${who} ${round}\n`);
        await client.fs.fsync(fd);
        expected.push(`${who} ${round}`);
      }
    }
    t.same(readFileSync(`${server.directory}/log`, 'latin1').trimEnd().split('\n'), expected);
  });
}
