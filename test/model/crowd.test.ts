/**
 * Many processes on one mount, while another client changes the files that they read: none starves, none waits for ever,
 * and all of them read correct data.
 */
import { readFileSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { Ganesha } from '../support/ganesha.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { start } from '../support/process.js';
import { projectRoot, python } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';

const PROCESSES = 64;
const QUOTA = 15;
const PIECE = 256 * 1024;
const PIECES = 32;

/** Rewrites `path`, one letter after the other, until told to end; answers how often. */
async function rewrite(path: string, goesOn: () => boolean): Promise<number> {
  const file = await open(path, 'w');
  let times = 0;
  try {
    for (; goesOn(); times++) {
      await file.write(Buffer.alloc(3000, 97 + (times % 26)), 0, 3000, 0);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  } finally {
    await file.close();
  }
  return times;
}

t.test(`${PROCESSES} processes`, { timeout: 300_000 }, async (t) => {
  const server = untilEnd(t, await Ganesha.start());
  const place = untilEnd(t, await openPlace('root'));
  // The processes must notice another client's changes while they work.
  const mount = untilEnd(t, await Mount.start({ source: server, place, options: ['actimeo=1'] }));
  const fs = await mount.agent();
  await fs.writeFile(
    'large',
    Buffer.concat(Array.from({ length: PIECES }, (_, index) => Buffer.alloc(PIECE, index))),
  );
  await fs.writeFile('log', '');
  await fs.writeFile('changing', '');
  const program = await readFile(join(projectRoot, 'test/model/crowd.py'), 'utf8');
  const argv = [python, '-c', program, String(PROCESSES), String(QUOTA)];
  const crowd = untilEnd(t, start(place.command(['env', '-C', mount.path, ...argv]), { cwd: '/' }));
  const changes = await rewrite(join(server.directory, 'changing'), () => crowd.outcome === undefined);
  const outcome = await crowd.ended;
  t.equal(outcome.stderr.toString(), '');
  const { steps, wrong } = JSON.parse(outcome.stdout.toString()) as { steps: number[]; wrong: string };
  t.equal(wrong, '');
  t.ok(Math.min(...steps) >= QUOTA, `steps from ${Math.min(...steps)} to ${Math.max(...steps)}`);
  t.ok(changes > 0, `${changes} changes by another client`);
  for (let role = 0; role < 8; role++) t.comment(steps.filter((_, index) => index % 8 === role).join(' '));
  t.match(await mount.unmount(), { status: 0, signal: null });
  const lines = readFileSync(join(server.directory, 'log'), 'latin1').trimEnd().split('\n');
  const expected = steps.flatMap((count, number) =>
    number % 8 === 2 ? Array.from({ length: count }, (_, index) => `${number} ${index}`) : [],
  );
  t.same(lines.sort(), expected.sort(), 'every line of the log is there once');
});
