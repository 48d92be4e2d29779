/** `--log-format` and `--log-level`: a program can read what a mount says, from its start to its death. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { fromLevel, type LogLevel, logLine } from '../../lib/base/log.js';
import { failsOnce, nfsFuse } from '../cli/support/product.js';
import { servingProcess } from '../keep/support/serving.js';
import { ServeCommand } from '../support/embedded.js';
import { publicFolder } from '../support/folders.js';
import { Mount, newMountPoint } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { mustRun, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

const place = untilEnd(t, await openPlace('root'));
const server = untilEnd(t, await ServeCommand.start(place));
const scratch = untilEnd(t, publicFolder());
const target = `${server.host}:${server.exportPath}`;

interface Line {
  readonly time: string;
  readonly level: string;
  readonly message: string;
}

/** Every line is an object with exactly these three. */
function jsonLines(t: Test, text: string): Line[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const parsed = JSON.parse(line) as Line;
      t.same(Object.keys(parsed), ['time', 'level', 'message'], line);
      t.match(parsed.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$/);
      return parsed;
    });
}

t.test('the forms of a line', async (t) => {
  const time = new Date(1_700_000_000_123);
  t.equal(logLine('text', 'warn', 'a "b"', time), '2023-11-14T22:13:20.123Z warn a "b"\n');
  t.same(JSON.parse(logLine('json', 'error', 'a "b"\n\\\x1b', time)), {
    time: '2023-11-14T22:13:20.123Z',
    level: 'error',
    message: 'a "b"\n\\\\x1b',
  });
  t.equal(logLine('json', 'info', 'one\ntwo', time).split('\n').length, 2, 'one line');
  t.equal(logLine('journal', 'info', 'one\ntwo', time), '<6>one\n<6>two\n');
  t.equal(logLine('journal', 'warn', 'x', time), '<4>x\n');
  t.equal(logLine('journal', 'error', 'x', time), '<3>x\n');
  const heard: LogLevel[] = [];
  const sink = fromLevel('warn', (level) => heard.push(level));
  for (const level of ['info', 'warn', 'error'] as const) sink(level, 'x');
  t.same(heard, ['warn', 'error']);
});

t.test('JSON on standard error and in the file, to the death of keeper and process', async (t) => {
  const file = join(scratch.path, 'log "json"');
  const at = `${await newMountPoint(place)}"\\`;
  await mustRun(['mkdir', at]);
  const args = ['--log-format', 'json', '--log-file', file];
  const mount = untilEnd(t, await Mount.start({ source: server, place, args, at }));
  await mount.served();
  const dead = await servingProcess(mount);
  process.kill(dead, 'SIGKILL');
  await until('another process serves', async () => ![dead, 0].includes(await servingProcess(mount)));
  await until('it says so', () => mount.log.includes('has taken the mount over'));
  for (const text of [mount.log, readFileSync(file, 'utf8')])
    t.match(jsonLines(t, text), [
      { level: 'info', message: /is mounted on / },
      { level: 'warn', message: /died; process \d+ has taken the mount over/ },
    ]);
  await mount.unmount();
});

t.test('the watcher that takes a dead mount away speaks JSON, too', async (t) => {
  const file = join(scratch.path, 'dead');
  const at = `${await newMountPoint(place)}"\\`;
  await mustRun(['mkdir', at]);
  const args = ['--no-keep', '--log-format', 'json', '--log-file', file];
  const mount = untilEnd(t, await Mount.start({ source: server, place, args, at }));
  await mount.served();
  mount.signal('SIGKILL');
  await until('the watcher has said it', () => /died/.test(readFileSync(file, 'utf8')));
  // It may have died before it wrote to the file that it is mounted.
  const death = jsonLines(t, readFileSync(file, 'utf8')).at(-1);
  t.match(death, { level: 'error', message: /^The process \d+ that served .* died, and .* was unmounted\./ });
  t.ok(death?.message.includes(at.replace(/\\/g, '\\')), 'the name is whole');
});

t.test('the journal gets priorities, and text has time and level', async (t) => {
  for (const [format, pattern] of [
    ['journal', /^<6>\S+ is mounted on \S+\.\n/],
    ['text', /^\d{4}-\S+Z info \S+ is mounted on \S+\.\n/],
  ] as const) {
    const mount = untilEnd(t, await Mount.start({ source: server, place, args: ['--log-format', format] }));
    await until('it has said something', () => mount.log.includes('\n'));
    t.match(mount.log, pattern);
    await mount.unmount();
  }
});

t.test('a failure to mount is a line like others, with its exit status', async (t) => {
  const path = await newMountPoint(place);
  const failed = await nfsFuse([
    ...['mount', '-f', '--log-format', 'json', '-o', server.mountOptions.join(',')],
    ...[`${server.host}:/nowhere`, path],
  ]);
  t.not(failed.status, 0);
  const [line] = jsonLines(t, failed.stderr);
  t.match(line, { level: 'error', message: /nowhere/ });
});

t.test('a level leaves out what is less important, and not what --debug asks for', async (t) => {
  const file = join(scratch.path, 'levels');
  const args = ['--log-level', 'warn', '--debug', 'fuse', '--log-file', file];
  const mount = untilEnd(t, await Mount.start({ source: server, place, args: ['-f', ...args] }));
  await mount.mustRun(['ls']);
  const text = readFileSync(file, 'utf8');
  t.match(text, /info fuse: /);
  t.notMatch(`${text}${mount.log}`, /is mounted on/);
});

t.test('unknown formats and levels, and a format that nobody would see, are refused', async (t) => {
  const path = await newMountPoint(place);
  const attempt = (...args: string[]) =>
    nfsFuse(['mount', ...args, '-o', server.mountOptions.join(','), target, path]);
  failsOnce(
    t,
    await attempt('-f', '--log-format', 'jsn'),
    /--log-format=jsn is not one of text, json, journal\./,
    /json\?/,
  );
  failsOnce(t, await attempt('-f', '--log-level', 'loud'), /--log-level=loud is not one of/, /Leave/);
  failsOnce(t, await attempt('--log-format', 'json'), /about the messages of -f/, /Add -f or --log-file/);
});
