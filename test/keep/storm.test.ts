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
import { mustRun, start, until } from '../support/process.js';
import { projectRoot, python } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';
import { servingProcess } from './support/serving.js';

const DEATHS = 15;
const RESTARTS = 25;
const BETWEEN_MS = 2_000;
const FILES = 2_000;
const MINUTES = 60_000;

/** Has programs work on a mount while `trouble` comes over it. */
async function storm(
  t: Parameters<typeof untilEnd>[0],
  source: MountSource,
  trouble: (mount: Mount) => Promise<void>,
): Promise<Mount> {
  const place = untilEnd(t, await openPlace('root'));
  const mount = untilEnd(t, await Mount.start({ source, place }));
  await mount.served();
  const scratch = untilEnd(t, publicFolder());
  const program = join(projectRoot, 'test/keep/support/storm.py');
  const argv = [python, program, mount.path, scratch.path, join(projectRoot, 'lib/vfs'), String(FILES)];
  const programs = untilEnd(t, start(argv, { cwd: '/' }));
  await until('they have begun', () => programs.output.includes('ready\n'), 3 * MINUTES);
  await trouble(mount);
  writeFileSync(join(scratch.path, 'end'), '');
  await until('they have ended', () => programs.outcome !== undefined, 3 * MINUTES);
  t.match(programs.output, /^all right$/m, programs.output);
  return mount;
}

async function deaths(mount: Mount): Promise<void> {
  for (let count = 0, dead = 0; count < DEATHS; count++) {
    await sleep(BETWEEN_MS);
    await until('a process serves', async () => ![0, dead].includes(await servingProcess(mount)), MINUTES);
    dead = await servingProcess(mount);
    process.kill(dead, 'SIGKILL');
  }
}

async function restarts({ place, path }: Mount): Promise<void> {
  for (let count = 0; count < RESTARTS; count++)
    await mustRun(place.command([...place.product, 'restart', path]), { cwd: '/' });
}

t.test('over nfs-fuse serve', { timeout: 10 * MINUTES }, async (t) => {
  const place = untilEnd(t, await openPlace('root'));
  const mount = await storm(t, untilEnd(t, await ServeCommand.start(place)), deaths);
  t.match((await statsOf(mount)).takeovers, { deaths: DEATHS, last: { files: 0 } });
  await mount.unmount();
});

t.test('over nfs-ganesha', { timeout: 10 * MINUTES }, async (t) => {
  const mount = await storm(t, untilEnd(t, await Ganesha.start({ locks: true })), deaths);
  t.match((await statsOf(mount)).takeovers, { deaths: DEATHS, last: { files: 0 } });
  await mount.unmount();
});

t.test('handed over from one process to the next', { timeout: 10 * MINUTES }, async (t) => {
  const place = untilEnd(t, await openPlace('root'));
  const mount = await storm(t, untilEnd(t, await ServeCommand.start(place)), restarts);
  t.match((await statsOf(mount)).takeovers, { deaths: 0, restarts: RESTARTS, last: { files: 0 } });
  await mount.unmount();
});
