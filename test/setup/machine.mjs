/** The needs of the tests on the machine: Debian packages, which root gets installed, root itself, and FUSE. */
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter } from 'node:path';
import { must, SetupError, say } from './common.mjs';

/** Package -> a command that it brings, a file (absolute path), or undefined: ask dpkg. */
const PACKAGES = {
  'nfs-ganesha': 'ganesha.nfsd',
  'nfs-ganesha-vfs': undefined,
  fuse3: 'fusermount3',
  tshark: 'tshark',
  'wireshark-common': 'dumpcap',
  'util-linux': 'setpriv',
  passwd: 'useradd',
  rpcbind: 'rpcbind',
  rsync: 'rsync',
  git: 'git',
  make: 'make',
  gcc: 'gcc',
  'libc6-dev': '/usr/include/stdio.h',
  python3: undefined,
  tar: 'tar',
  diffutils: 'diff',
  findutils: 'find',
  procps: 'ps',
  busybox: 'busybox',
  'man-db': 'man',
  'groff-base': 'groff',
  mandoc: 'mandoc',
};

/** Further packages for the tests of containers (test/containers): for installPackages, if these tests run. */
export const CONTAINER_PACKAGES = {
  podman: 'podman',
  crun: 'crun',
  uidmap: 'newuidmap',
  debootstrap: 'debootstrap',
  'debian-archive-keyring': '/usr/share/keyrings/debian-archive-keyring.gpg',
  bubblewrap: 'bwrap',
  'docker.io': 'dockerd',
  runc: 'runc',
  systemd: 'systemd-analyze',
};

/** For the single file of another processor (test/single-file/other-processor). */
export const EMULATOR_PACKAGES = {
  'qemu-user-static': 'qemu-aarch64-static',
  'libc6-arm64-cross': '/usr/aarch64-linux-gnu/lib/libc.so.6',
  'libgcc-s1-arm64-cross': '/usr/aarch64-linux-gnu/lib/libgcc_s.so.1',
  'libstdc++6-arm64-cross': '/usr/aarch64-linux-gnu/lib/libstdc++.so.6',
};

/** Further packages for the tests of what is deployed (test/deploy). */
export const DEPLOY_PACKAGES = {
  prometheus: 'promtool',
  'kubernetes-client': 'kubectl',
};

function onPath(command) {
  const folders = `${process.env.PATH ?? ''}${delimiter}/usr/sbin${delimiter}/sbin`.split(delimiter);
  return folders.some((folder) => existsSync(`${folder}/${command}`));
}

function isInstalled(name, file) {
  if (file !== undefined) return file.startsWith('/') ? existsSync(file) : onPath(file);
  const { status, stdout } = spawnSync('dpkg-query', ['--status', name], { encoding: 'utf8' });
  return status === 0 && stdout.includes('Status: install ok installed');
}

/** Keeps the packages' own services from being started while `install` runs. */
function withoutServices(install) {
  const policy = '/usr/sbin/policy-rc.d';
  if (existsSync(policy)) return install();
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return install();
  } finally {
    rmSync(policy, { force: true });
  }
}

/** Installs the Debian packages that are missing; fails with their names where that cannot be done. */
export function installPackages(packages = PACKAGES) {
  const missing = Object.entries(packages)
    .filter(([name, file]) => !isInstalled(name, file))
    .map(([name]) => name);
  if (missing.length === 0) return;
  if (process.getuid() !== 0 || !onPath('apt-get')) {
    throw new SetupError(
      `these packages are missing: ${missing.join(' ')}. Install them, or run as root on Debian.`,
    );
  }
  say(`installing ${missing.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  must('apt-get', ['update', '-qq'], { env });
  withoutServices(() =>
    must('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing], { env }),
  );
}

/** Checks what no package can bring: root, FUSE and user namespaces. */
export function checkMachine() {
  if (process.getuid() !== 0) {
    throw new SetupError(
      'run it as root: it starts nfs-ganesha, captures packets, and mounts as root and as other users.',
    );
  }
  try {
    closeSync(openSync('/dev/fuse', 'r+'));
  } catch (error) {
    throw new SetupError(
      `/dev/fuse cannot be opened (${error.code}): load the module fuse; in a container, pass --device /dev/fuse and --cap-add SYS_ADMIN.`,
    );
  }
  const probe = spawnSync('setpriv', [
    '--reuid=65534',
    '--regid=65534',
    '--clear-groups',
    'unshare',
    '-Urm',
    'true',
  ]);
  if (probe.status !== 0) {
    throw new SetupError(
      `an unprivileged user cannot make a user namespace (${String(probe.stderr).trim()}): set user.max_user_namespaces, or kernel.unprivileged_userns_clone=1.`,
    );
  }
}
