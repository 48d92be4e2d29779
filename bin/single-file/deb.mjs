/**
 * A Debian package around the single file: what it holds, what it needs, and what it says of itself. mount(8), fstab and systemd's
 * automount find the program on their path.
 */
import { copyFileSync, cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Debian's names of processors, by Node's. */
const ARCHITECTURES = { x64: 'amd64', arm64: 'arm64' };

/** The file's name, by which Debian's tools know what is in it. `processor`: one that processor.mjs knows. */
export function debName({ name, version }, processor) {
  return `${name}_${version}_${ARCHITECTURES[processor]}.deb`;
}

function control({ name, version, description, homepage }, processor) {
  const [title, ...more] = description.split(': ');
  return `${[
    `Package: ${name}`,
    `Version: ${version}`,
    `Architecture: ${ARCHITECTURES[processor]}`,
    'Maintainer: The nfs-fuse developers <nfs-fuse@localhost>',
    'Section: net',
    'Priority: optional',
    // Those that Node itself is linked with.
    'Depends: libc6 (>= 2.28), libgcc-s1, libstdc++6',
    // An ordinary user mounts by fusermount3; mount(8) finds the program by mount.fuse3.
    'Recommends: fuse3, util-linux',
    ...(homepage === undefined ? [] : [`Homepage: ${homepage}`]),
    `Description: ${title}`,
    ...more.map((line) => ` ${line.charAt(0).toUpperCase()}${line.slice(1)}.`),
  ].join('\n')}\n`;
}

/**
 * Makes the package `out` of `program`. `info`: what package.json has. `manual`: the manual page. `work`: an empty folder. `run`: runs
 * a program, and throws when it fails.
 */
export function makeDeb({ root, info, processor, program, manual, work, out, run }) {
  const docs = join(work, 'usr/share/doc', info.name);
  const pages = join(work, 'usr/share/man/man8');
  for (const folder of [join(work, 'DEBIAN'), join(work, 'usr/bin'), docs, pages])
    mkdirSync(folder, { recursive: true, mode: 0o755 });
  writeFileSync(join(work, 'DEBIAN/control'), control(info, processor));
  copyFileSync(program, join(work, 'usr/bin', info.name));
  for (const name of ['README.md', 'CHANGELOG.md']) copyFileSync(join(root, name), join(docs, name));
  copyFileSync(join(root, 'LICENSE'), join(docs, 'copyright'));
  // Links of the pages lead to deploy.
  for (const name of ['docs', 'deploy']) cpSync(join(root, name), join(docs, name), { recursive: true });
  const page = join(pages, `${info.name}.8`);
  writeFileSync(page, manual);
  run('gzip', ['-9n', page]);
  // The name under which mount(8) looks for a program of this type.
  symlinkSync(`${info.name}.8.gz`, join(pages, `mount.fuse.${info.name}.8.gz`));
  run('chmod', ['-R', 'u=rwX,go=rX', work]);
  // xz would make it a third smaller, and take minutes.
  run('dpkg-deb', ['--root-owner-group', '-Zgzip', '--build', work, out]);
}
