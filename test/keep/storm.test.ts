/**
 * The process of a mount is killed every two seconds under all sorts of programs: none sees an error, and all results are
 * right.
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { statsOf } from '../support/embedded-mount.js';
import { publicFolder } from '../support/folders.js';
import { Ganesha } from '../support/ganesha.js';
import { Mount, type MountSource } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { start, until } from '../support/process.js';
import { projectRoot, python } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';
import { servingProcess } from './support/serving.js';

const DEATHS = 15;
const BETWEEN_MS = 2_000;
const FILES = 2_000;
const MINUTES = 60_000;

async function storm(t: Parameters<typeof untilEnd>[0], source: MountSource): Promise<void> {
  const place = untilEnd(t, await openPlace('root'));
  const mount = untilEnd(t, await Mount.start({ source, place }));
  await mount.served();
  const scratch = untilEnd(t, publicFolder());
  const program = join(projectRoot, 'test/keep/support/storm.py');
  const argv = [python, program, mount.path, scratch.path, join(projectRoot, 'lib/vfs'), String(FILES)];
  const programs = untilEnd(t, start(argv, { cwd: '/' }));
  await until('they have begun', () => programs.output.includes('ready\n'), 3 * MINUTES);
  let deaths = 0;
  for (let dead = 0; deaths < DEATHS; deaths++) {
    await sleep(BETWEEN_MS);
    await until('a process serves', async () => ![0, dead].includes(await servingProcess(mount)), MINUTES);
    dead = await servingProcess(mount);
    process.kill(dead, 'SIGKILL');
  }
  writeFileSync(join(scratch.path, 'end'), '');
  await until('they have ended', () => programs.outcome !== undefined, 3 * MINUTES);
  t.match(programs.output, /^all right$/m, programs.output);
  const { takeovers } = await statsOf(mount);
  t.match(takeovers, { deaths, last: { files: 0 } });
  await mount.unmount();
}

t.test('over nfs-fuse serve', { timeout: 10 * MINUTES }, async (t) => {
  const place = untilEnd(t, await openPlace('root'));
  await storm(t, untilEnd(t, await ServeCommand.start(place)));
});

t.test('over nfs-ganesha', { timeout: 10 * MINUTES }, async (t) => {
  await storm(t, untilEnd(t, await Ganesha.start({ locks: true })));
});
