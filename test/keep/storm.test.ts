/**
 * The process of a mount is killed every two seconds, or replaced again and again, under all sorts of programs: none sees an
 * error, and all results are right. On a kernel that does not repeat requests, those fail that are under way.
 */

import { cpSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { statsOf } from '../support/embedded-mount.js';
import { publicFolder } from '../support/folders.js';
import { Ganesha } from '../support/ganesha.js';
import { Mount, type MountSource } from '../support/mount.js';
import { openPlace, type Place } from '../support/places.js';
import { mustRun, start, until } from '../support/process.js';
import { projectRoot, python } from '../support/project.js';
import { atTier } from '../support/tier.js';
import { untilEnd } from '../support/until-end.js';
import { servingProcess } from './support/serving.js';

const DEATHS = atTier({ ci: 6, all: 30 });
const FEWER_DEATHS = atTier({ ci: 3, all: 15 });
const RESTARTS = atTier({ ci: 8, all: 50 });
const BETWEEN_MS = 2_000;
const FILES = 2_000;
const MINUTES = 60_000;
const SUPPORT = join(projectRoot, 'test/keep/support');

/** A program of the folder `support`, and its arguments after the mount and a folder for itself. */
interface Programs {
  readonly file: string;
  readonly arguments: readonly string[];
}

const ALL_SORTS: Programs = {
  file: 'storm.py',
  arguments: [join(projectRoot, 'lib/vfs'), String(FILES)],
};
const THAT_TRY_AGAIN: Programs = { file: 'storm-old-kernel.py', arguments: [] };

interface Storm {
  readonly programs?: Programs;
  /** The program that serves; that of the project by default. */
  readonly program?: string;
  trouble(mount: Mount): Promise<void>;
}

/** Has programs work on a mount while `trouble` comes over it. Answers the mount, and what the programs have printed. */
async function storm(t: Test, source: MountSource, { programs = ALL_SORTS, program, trouble }: Storm) {
  const opened = untilEnd(t, await openPlace('root'));
  const product = program === undefined ? opened.product : opened.product.with(-1, program);
  const place: Place = { ...opened, product };
  const mount = untilEnd(t, await Mount.start({ source, place }));
  await mount.served();
  const scratch = untilEnd(t, publicFolder());
  const argv = [python, join(SUPPORT, programs.file), mount.path, scratch.path, ...programs.arguments];
  const running = untilEnd(t, start(argv, { cwd: '/' }));
  await until('they have begun', () => running.output.includes('ready\n'), 3 * MINUTES);
  await trouble(mount);
  writeFileSync(join(scratch.path, 'end'), '');
  await until('they have ended', () => running.outcome !== undefined, 3 * MINUTES);
  t.match(running.output, /^all right$/m, running.output);
  const told = /^(longest pause|rounds|failed).*$/gm;
  for (const [line] of running.output.matchAll(told)) t.comment(line);
  return { mount, output: running.output };
}

const deaths = (count: number) => async (mount: Mount) => {
  for (let done = 0, dead = 0; done < count; done++) {
    await sleep(BETWEEN_MS);
    await until('a process serves', async () => ![0, dead].includes(await servingProcess(mount)), MINUTES);
    dead = await servingProcess(mount);
    process.kill(dead, 'SIGKILL');
  }
};

/** A copy of the program that calls itself another version. */
function anotherBuild(t: Test): { readonly folder: string; readonly program: string } {
  const { path: folder } = untilEnd(t, publicFolder());
  cpSync(join(projectRoot, 'dist'), join(folder, 'dist'), { recursive: true });
  symlinkSync(join(projectRoot, 'node_modules'), join(folder, 'node_modules'));
  const content = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as object;
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ ...content, version: '99.0.0' }));
  return { folder, program: join(folder, 'dist/bin/nfs-fuse.js') };
}

/** A copy that deals with the kernel as on Linux before 6.9: neither knows of requests that are repeated. */
function buildForOldKernels(t: Test): string {
  const { folder, program } = anotherBuild(t);
  const dist = join(folder, 'dist');
  let changed = 0;
  for (const name of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.js')) continue;
    const text = readFileSync(join(dist, name), 'utf8');
    const without = text.replaceAll('HAS_RESEND: 1n << 39n', 'HAS_RESEND: 0n');
    if (without === text) continue;
    writeFileSync(join(dist, name), without);
    changed += 1;
  }
  t.not(changed, 0, 'the build has no such place');
  return program;
}

/** From one build to the other and back. */
async function restarts({ place, path }: Mount, builds: readonly [string, string]): Promise<void> {
  for (let count = 0; count < RESTARTS; count++) {
    const build = builds[count % 2] ?? '';
    await mustRun(place.command([...place.product, 'restart', path, '--with', build]), { cwd: '/' });
  }
}

t.test('over nfs-fuse serve', { timeout: 10 * MINUTES }, async (t) => {
  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await ServeCommand.start(place));
  const { mount } = await storm(t, server, { trouble: deaths(DEATHS) });
  t.match((await statsOf(mount)).takeovers, { deaths: DEATHS, last: { files: 0 } });
  await mount.unmount();
});

t.test('over nfs-ganesha', { timeout: 10 * MINUTES }, async (t) => {
  const { mount } = await storm(t, untilEnd(t, await Ganesha.start({ locks: true })), {
    trouble: deaths(FEWER_DEATHS),
  });
  t.match((await statsOf(mount)).takeovers, { deaths: FEWER_DEATHS, last: { files: 0 } });
  await mount.unmount();
});

t.test('on a kernel that does not repeat requests', { timeout: 10 * MINUTES }, async (t) => {
  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await ServeCommand.start(place));
  const { mount, output } = await storm(t, server, {
    program: buildForOldKernels(t),
    programs: THAT_TRY_AGAIN,
    trouble: deaths(FEWER_DEATHS),
  });
  t.match((await statsOf(mount)).takeovers, { deaths: FEWER_DEATHS, last: { files: 0 } });
  const failed = /^failed (.*)$/m.exec(output)?.[1]?.split(' ') ?? [];
  for (const one of failed) {
    const [name, count] = one.split('=');
    t.ok(
      Number(count) <= FEWER_DEATHS,
      `${name}: at most the call under way fails at each death, ${count} did`,
    );
  }
  t.ok(
    failed.some((one) => !one.endsWith('=0')),
    'and some do',
  );
  await mount.unmount();
});

t.test('handed over from one build to another and back', { timeout: 10 * MINUTES }, async (t) => {
  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await ServeCommand.start(place));
  const builds = [anotherBuild(t).program, place.product.at(-1) ?? ''] as const;
  const { mount } = await storm(t, server, { trouble: (mount) => restarts(mount, builds) });
  t.match((await statsOf(mount)).takeovers, { deaths: 0, restarts: RESTARTS, last: { files: 0 } });
  const told = mount.log.matchAll(/handed .* over to process \d+, within (\d+) ms/g);
  const pauses = [...told].map(([, milliseconds]) => Number(milliseconds));
  t.equal(pauses.length, RESTARTS);
  t.comment(`nobody served for at most ${Math.max(...pauses)} ms`);
  await mount.unmount();
});
