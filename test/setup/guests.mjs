/** Programs that guests (test/support/guest) need: user-mode Linux, and those of Linux's own NFS server and client. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, must, SetupError, say } from './common.mjs';
import { installPackages } from './machine.mjs';

/** Package -> a command or a file that it brings. */
const PACKAGES = {
  'user-mode-linux': 'linux.uml',
  kmod: 'modprobe',
  iproute2: 'ip',
  e2fsprogs: 'mkfs.ext4',
  rpcbind: 'rpcbind',
  'nfs-common': 'mount.nfs',
  quota: 'rpc.rquotad',
};
/** Installed, this one would start a server on this machine: it is only unpacked. */
const SERVER = 'nfs-kernel-server';

/** Installs the packages, and unpacks the server's into the cache; fails with what is missing where that cannot be done. */
export function installGuests() {
  installPackages(PACKAGES);
  unpackServer();
}

function unpackServer() {
  const target = join(cacheFolder, SERVER);
  if (existsSync(join(target, 'usr/sbin/rpc.nfsd'))) return;
  say(`unpacking ${SERVER}`);
  const scratch = join(cacheFolder, `${SERVER}-${process.pid}`);
  mkdirSync(scratch, { recursive: true });
  try {
    download(scratch);
    const [archive] = readdirSync(scratch).filter((name) => name.endsWith('.deb'));
    must('dpkg', ['-x', join(scratch, archive), join(scratch, 'unpacked')]);
    rmSync(target, { recursive: true, force: true });
    renameSync(join(scratch, 'unpacked'), target);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function download(folder) {
  const get = () => must('apt-get', ['download', '-qq', SERVER], { cwd: folder });
  try {
    get();
  } catch {
    // The list of packages may be old, or not there.
    try {
      must('apt-get', ['update', '-qq']);
      get();
    } catch (error) {
      throw new SetupError(
        `the package ${SERVER} cannot be downloaded, which the tests against Linux's own server need ` +
          `(it is unpacked only, not installed). On Debian with a package mirror it can: ${error.message}`,
      );
    }
  }
}
