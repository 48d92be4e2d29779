/** The kernel kills processes of a container that has reached its memory limit: the mount goes on, and so do programs. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { MemoryGroup } from '../support/memory-group.js';
import { newMountPoint } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { start, until } from '../support/process.js';
import { projectRoot, python } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';

const MIB = 1024 * 1024;
/** Far less than what is read ahead takes, and more than a new process needs beside the state. */
const ROOM = 24 * MIB;
const KILLS = 5;

const scoreOf = (pid: number) => Number(readFileSync(`/proc/${pid}/oom_score_adj`, 'latin1'));
/** False also where one of them has ended. */
const isEndedBefore = (one: number, other: number): boolean => {
  try {
    return scoreOf(one) > scoreOf(other);
  } catch {
    return false;
  }
};

const wordsOf = (pid: number): readonly string[] => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
  } catch {
    return [];
  }
};

t.test('the process that serves for nfs-fuse exec is killed, and no program sees an error', async (t) => {
  const group = untilEnd(t, new MemoryGroup());
  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await ServeCommand.start(place));
  const mnt = await newMountPoint(place);
  const big = randomBytes(96 * MIB);
  writeFileSync(join(server.directory, 'big'), big);
  mkdirSync(join(server.directory, 'folder'));
  const sum = createHash('sha256').update(big).digest('hex');
  const options = [...server.mountOptions, `readahead=${64 * MIB}`, `writebehind=${8 * MIB}`].join(',');
  const target = `${server.host}:${server.exportPath}`;
  const program = join(projectRoot, 'test/keep/support/in-memory-limit.py');
  const exec = [...place.product, 'exec', '-o', options, target, mnt, '--', python, program, mnt, sum];
  const container = untilEnd(
    t,
    start(group.command(place.command(exec)), { stdio: ['pipe', 'pipe', 'pipe'], cwd: '/' }),
  );
  const goesOn = () => {
    if (container.outcome !== undefined) throw new Error(container.output);
    return true;
  };
  await until('the program is ready', () => goesOn() && container.output.includes('ready\n'));

  const by = (word: string) => group.pids.find((pid) => wordsOf(pid).includes(word)) ?? 0;
  await until('it has its keeper', () => goesOn() && by('nfs-fuse-keeper') !== 0 && by('mount') !== 0);
  const serving = by('mount');
  t.ok(
    scoreOf(serving) > scoreOf(by('exec')),
    'the serving process is ended before the one of the container',
  );
  t.ok(scoreOf(by('nfs-fuse-keeper')) <= scoreOf(by('exec')), 'and not before its keeper');

  group.limit = group.usage + ROOM;
  container.child.stdin?.write('go\n');
  await until(`${KILLS} kills`, () => goesOn() && group.kills >= KILLS);
  group.limit = undefined;
  const died = () => container.output.match(/died; process \d+ has taken the mount over/g)?.length ?? 0;
  await until('the mount was taken over', () => goesOn() && died() > 0);
  // One that was about to take over may have been ended as well.
  await until('another process serves, and is ended first as well', () => {
    const next = by('mount');
    return goesOn() && ![0, serving].includes(next) && isEndedBefore(next, by('exec'));
  });
  container.child.stdin?.end('end\n');
  const { status, signal } = await container.ended;
  t.same({ status, signal }, { status: 0, signal: null }, container.output);
  t.match(container.output, /^all right$/m, container.output);
  t.notMatch(container.output, /nothing goes on|Data of|lost/);
  t.comment(`${group.kills} kills, ${died()} takeovers`);
});
