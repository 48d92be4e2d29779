/**
 * The mount point is the directory that was there when the command started. Another user who may rename it, or a
 * directory above it, can put a symbolic link in its place later: nothing is mounted or unmounted through that link.
 */
import { chmodSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { EmbeddedServer } from '../../lib/server/index.js';
import { publicFolder } from '../support/folders.js';
import { Mount, mountsOf } from '../support/mount.js';
import { openPlace, type Place, type PlaceName } from '../support/places.js';
import { freePorts } from '../support/ports.js';
import { mustRun, run, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { nfsFuse, STACK_TRACE } from './support/product.js';

const MOUNT_REPLACED =
  /The mount point .*inn\/mnt is no longer the directory that it was when the command started/;

interface Ground {
  readonly place: Place;
  readonly port: number;
  readonly options: string;
  readonly served: string;
  /** A directory in `inn`. */
  readonly mnt: string;
  readonly inn: string;
  /** Nothing may be mounted here. */
  readonly victim: string;
  /** The mounts in the place's folder. */
  mounted(): string[];
  /** Puts a symbolic link to the victim where the mount point was. */
  swap(): Promise<void>;
  serve(): Promise<EmbeddedServer>;
}

async function ground(t: Test, name: PlaceName): Promise<Ground> {
  const place = untilEnd(t, await openPlace(name));
  const served = untilEnd(t, publicFolder());
  writeFileSync(join(served.path, 'file'), 'content\n');
  const [port = 0] = await freePorts(1);
  const inn = join(place.folder, 'inn');
  const mnt = join(inn, 'mnt');
  const victim = join(place.folder, 'victim');
  await mustRun(place.command(['mkdir', inn, mnt, victim]));
  return {
    place,
    port,
    options: `port=${port},mountport=${port},nolock`,
    served: served.path,
    inn,
    mnt,
    victim,
    mounted: () =>
      mountsOf(place.namespacePid)
        .filter(({ path, type }) => path.startsWith(`${place.folder}/`) && type === 'fuse.nfs-fuse')
        .map(({ path }) => path),
    async swap() {
      await mustRun(place.command(['sh', '-c', 'mv "$1" "$1.old" && ln -s "$2" "$1"', 'sh', mnt, victim]));
    },
    async serve() {
      const server = untilEnd(t, await EmbeddedServer.start({ path: served.path, port }));
      return server;
    },
  };
}

for (const name of ['root', 'userns', 'user'] satisfies PlaceName[]) {
  t.test(`${name}: a link put in place of the mount point while retry= waits is not followed`, async (t) => {
    const { place, options, mnt, mounted, swap, serve } = await ground(t, name);
    const argv = [...place.product, 'mount', '-o', `retry=5,${options}`, '127.0.0.1:/export', mnt];
    const command = start(place.command(argv), { cwd: '/' });
    await until('the first attempt has failed', () => /Trying again/.test(command.output));
    await swap();
    await serve();
    const outcome = await command.ended;
    t.same(mounted(), [], 'nothing is mounted');
    t.equal(outcome.status, 1);
    t.match(outcome.stderr.toString(), MOUNT_REPLACED);
    t.notMatch(outcome.stderr.toString(), STACK_TRACE);
  });
}

t.test('a link put in place of the mount point while bg waits is not followed', async (t) => {
  const { place, options, mnt, mounted, swap, serve } = await ground(t, 'root');
  const logFile = join(place.folder, 'log');
  const log = () => readFileSync(logFile, 'utf8');
  const flags = ['-o', `bg,retry=5,${options}`, '--log-file', logFile];
  const outcome = await nfsFuse(['mount', ...flags, '127.0.0.1:/export', mnt]);
  t.equal(outcome.status, 0, 'the command has returned');
  await swap();
  await serve();
  await until('it ends or mounts', () => MOUNT_REPLACED.test(log()) || mounted().length > 0);
  t.same(mounted(), [], 'nothing is mounted');
});

t.test('another directory in place of the mount point is not mounted on', async (t) => {
  const { place, options, mnt, mounted, serve } = await ground(t, 'root');
  const argv = [...place.product, 'mount', '-o', `retry=5,${options}`, '127.0.0.1:/export', mnt];
  const command = start(argv);
  await until('the first attempt has failed', () => /Trying again/.test(command.output));
  renameSync(mnt, `${mnt}.old`);
  mkdirSync(mnt);
  await serve();
  const outcome = await command.ended;
  t.same(mounted(), [], 'nothing is mounted');
  t.equal(outcome.status, 1);
  t.match(outcome.stderr.toString(), MOUNT_REPLACED);
});

t.test('a mount that fusermount3 made through a link is taken away again', async (t) => {
  const { place, options, inn, mnt, victim, mounted, serve } = await ground(t, 'user');
  await serve();
  const real = (await mustRun(['sh', '-c', 'command -v fusermount3'])).trim();
  const bin = join(place.folder, 'bin');
  mkdirSync(bin);
  // The swap happens after nfs-fuse has looked, and before fusermount3 looks.
  const script = `case $1 in -o) mv '${inn}' '${inn}.old'; ln -s '${victim}' '${inn}' ;; esac`;
  await mustRun(place.command(['mkdir', join(victim, 'mnt')]));
  writeFileSync(join(bin, 'fusermount3'), `#!/bin/sh\n${script}\nexec ${real} "$@"\n`);
  chmodSync(join(bin, 'fusermount3'), 0o755);
  const argv = [...place.product, 'mount', '-o', options, '127.0.0.1:/export', mnt];
  const withHelper = ['env', `PATH=${bin}:${process.env.PATH ?? ''}`, ...argv];
  const outcome = await run(place.command(withHelper), { cwd: '/' });
  t.same(mounted(), [], 'nothing stays mounted');
  t.equal(outcome.status, 1);
  t.match(outcome.stderr.toString(), MOUNT_REPLACED);
});

t.test('SIGTERM unmounts the mount itself, and not the target of a link in its path', async (t) => {
  const { place, port, inn, mnt, mounted, serve } = await ground(t, 'root');
  await serve();
  const source = {
    host: '127.0.0.1',
    exportPath: '/export',
    mountOptions: [`port=${port}`, `mountport=${port}`, 'nolock'],
  };
  const other = join(place.folder, 'other');
  mkdirSync(join(other, 'mnt'), { recursive: true });
  const theirs = untilEnd(t, await Mount.start({ source, place, at: join(other, 'mnt') }));
  const ours = untilEnd(t, await Mount.start({ source, place, at: mnt }));
  await ours.served();
  renameSync(inn, `${inn}.old`);
  symlinkSync(other, inn);
  ours.signal('SIGTERM');
  t.equal((await ours.exit()).status, 0, ours.log);
  t.same(mounted(), [theirs.path], 'the other mount is still there, and ours is gone');
});
