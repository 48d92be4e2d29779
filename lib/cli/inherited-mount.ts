/**
 * /dev/fd/N in place of the mount point: the command serves a mount that another process has made. Owns which arguments fit
 * such a mount.
 */

import { UserError } from '../base/user-error.js';
import { checkInherited, inheritedDescriptor, labelNames } from '../fuse/index.js';
import { fuseFailure } from '../mount/failure/fuse-failure.js';
import type { MountRequest } from '../mount/options/mount-options.js';
import type { KernelTransport } from '../mount/serve/kernel-transport.js';

export interface ServingManner {
  readonly transport: KernelTransport;
  readonly foreground: boolean;
  /** The file of --state, which says whether the mount is served for the first time. */
  readonly state: string | undefined;
}

/**
 * The descriptor that `mountpoint` names, after checking it. Undefined: `mountpoint` names a directory.
 * @throws UserError if the descriptor cannot be served, or not in this manner.
 */
export function inheritedMount(mountpoint: string, manner: ServingManner): number | undefined {
  const fd = inheritedDescriptor(mountpoint);
  if (fd === undefined) {
    if (manner.state === undefined) return undefined;
    throw new UserError(
      `--state is for a mount that another program has made, and ${mountpoint} is a directory.`,
      {
        remedy: 'Leave --state out: the state of other mounts is in memory, where their keeper finds it.',
      },
    );
  }
  if (!manner.foreground)
    throw new UserError(`${mountpoint} can only be served in the foreground.`, {
      remedy: 'Add -f. A process in the background would not have the descriptor.',
    });
  if (manner.transport === 'fuse-native')
    throw new UserError(`--transport fuse-native cannot serve ${mountpoint}: it can only mount by itself.`, {
      remedy: 'Use --transport kernel.',
    });
  try {
    if (manner.state === undefined) checkInherited(fd);
  } catch (error) {
    throw fuseFailure(error);
  }
  return fd;
}

/** A message about options that have no effect because only the process that mounts can pass them. Undefined: none. */
export function noteOnKernelOptions(mountpoint: string, { client, fuse }: MountRequest): string | undefined {
  const without = [
    ...Object.entries(fuse.flags)
      .filter(([flag, wanted]) => wanted && flag !== 'sync')
      .map(([flag]) => flag),
    ...(fuse.allowOther ? ['allow_other'] : []),
    ...(fuse.defaultPermissions ? ['default_permissions'] : []),
    ...labelNames(fuse.labels).map((name) => `${name}=`),
  ];
  if (without.length === 0) return undefined;
  const note = `Without effect here: ${without.join(', ')}. Only the program that mounts ${mountpoint} can tell the kernel so.`;
  if (client.identity.idmapped !== true) return note;
  return `${note} With idmapped it has to pass default_permissions: otherwise the kernel fails every call (ECONNREFUSED).`;
}
