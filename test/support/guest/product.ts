/** nfs-fuse inside a guest, where FUSE is the guest's kernel's. */
import { join } from 'node:path';
import type { MountSource } from '../mount.js';
import { projectRoot } from '../project.js';
import { type Guest, NODE_IN_GUEST, shellLine } from './guest.js';

/** Its journal and sockets are here. */
const HOME = '/run/nfs-fuse-home';
const NFS_FUSE = [...NODE_IN_GUEST, join(projectRoot, 'dist/bin/nfs-fuse.js')];

/** Runs nfs-fuse in the guest, as root, until it has ended; fails with what it says if it fails. */
export function guestProduct(guest: Guest, args: readonly string[]): Promise<string> {
  const environment = `mkdir -p ${HOME}; export HOME=${HOME} XDG_RUNTIME_DIR=${HOME}`;
  return guest.mustRun(`${environment}\n${shellLine([...NFS_FUSE, ...args])}`);
}

/** Mounts in the background, as a user would, on a folder of the guest's /mnt that is made if it is missing. */
export async function mountInGuest(
  guest: Guest,
  source: MountSource,
  path: string,
  options: readonly string[] = [],
): Promise<void> {
  await guest.mustRun(`mkdir -p ${path}`);
  const all = [...source.mountOptions, ...options].join(',');
  await guestProduct(guest, ['mount', '-o', all, `${source.host}:${source.exportPath}`, path]);
}

/** Unmounts when everything is written back. */
export async function unmountInGuest(guest: Guest, path: string): Promise<void> {
  await guestProduct(guest, ['umount', path]);
}
