/**
 * The ways to the kernel, made to look alike: our own FUSE protocol, over a mount of our own or over one that was
 * inherited, or libfuse by the package fuse-native.
 */

import type { Logger } from '../../base/log.js';
import { nearestName } from '../../base/nearest-name.js';
import { UserError } from '../../base/user-error.js';
import type { FuseOperations } from '../../fuse/contract/operations.js';
import {
  abortConnection,
  connectionNumber,
  FuseSession,
  type KernelMount,
  mountKernel,
  type PinnedDirectory,
  type SessionEnd,
  setReadAhead,
} from '../../fuse/index.js';
import type { FuseMountOptions, MountRequest } from '../options/mount-options.js';

/** The first is the default. */
export const KERNEL_TRANSPORTS = ['kernel', 'fuse-native'] as const;
export type KernelTransport = (typeof KERNEL_TRANSPORTS)[number];

export interface ServingOptions {
  readonly request: MountRequest;
  readonly mountpoint: string;
  /** The mount point as it was when the command started; undefined for an inherited mount. Closed by mounting. */
  readonly pinned: PinnedDirectory | undefined;
  /** The descriptor of a mount that is another's; then `mountpoint` is only its name. */
  readonly inherited: number | undefined;
  readonly operations: FuseOperations;
  readonly log: Logger;
  /** Gets a line for every request and reply. */
  readonly dump: ((line: string) => void) | undefined;
}

/** A mount that is served, whichever way. */
export interface ServedMount {
  readonly mount: Pick<KernelMount, 'mountpoint' | 'major' | 'unmount' | 'abort' | 'setReadAhead'> & {
    /** Undefined: the kernel does not tell it of an inherited descriptor. */
    readonly minor: number | undefined;
  };
  /** Resolves when the kernel has been told how this mount speaks. */
  readonly ready: Promise<unknown>;
  /** Resolves when the kernel has let go of the mount: what was asked before may still be under way. Never rejects. */
  readonly over: Promise<unknown>;
  /** Resolves when all of it is over. Never rejects. */
  readonly closed: Promise<SessionEnd>;
  counters(): object;
}

/** @throws UserError for a transport that there is not. */
export function parseKernelTransport(name: string | undefined): KernelTransport {
  if (name === undefined) return KERNEL_TRANSPORTS[0];
  const transport = KERNEL_TRANSPORTS.find((known) => known === name);
  if (transport !== undefined) return transport;
  const nearest = nearestName(name, KERNEL_TRANSPORTS);
  throw new UserError(`--transport=${name} is not one of ${KERNEL_TRANSPORTS.join(', ')}.`, {
    remedy: nearest === undefined ? 'Leave --transport out.' : `Did you mean --transport=${nearest}?`,
  });
}

/** @throws UserError for what the transport cannot do safely. */
export function checkKernelTransport(transport: KernelTransport, fuse: FuseMountOptions): void {
  if (transport === 'fuse-native' && fuse.allowOther)
    throw new UserError(
      'allow_other is not possible with --transport fuse-native: it does not tell users apart, so everybody would ' +
        'act as the user who mounts.',
      { remedy: 'Use --transport kernel, or leave allow_other out.' },
    );
}

/** Mounts, unless that was done already. @throws MountError */
export async function mountOver(transport: KernelTransport, options: ServingOptions): Promise<ServedMount> {
  const { inherited } = options;
  if (inherited !== undefined) return overInherited(inherited, options);
  return transport === 'kernel' ? overKernel(options) : overFuseNative(options);
}

async function overKernel(options: ServingOptions): Promise<ServedMount> {
  const { request, mountpoint, pinned, operations, log, dump } = options;
  const { client, fuse } = request;
  const mount = await mountKernel({
    mountpoint,
    pinned,
    source: request.source,
    readOnly: client.readOnly,
    noexec: fuse.noExec,
    // Synchronous writing is done here, by WRITEs that are stable at once; the kernel would add an fsync to each.
    flags: { ...fuse.flags, sync: false },
    allowOther: fuse.allowOther,
    // The kernel's dentry cache knows no users: without its own check a user whom the server would stop at a
    // directory reaches what another has looked up below it.
    // With uid= and gid= all the more: to the server, all callers are one user.
    defaultPermissions: fuse.defaultPermissions || fuse.allowOther,
  });
  try {
    const session = new FuseSession(mount.fd, operations, { log: (line) => log.error(line), debug: dump });
    const { ready, over, closed } = session;
    return { mount, ready, over, closed, counters: () => session.counters };
  } catch (error) {
    await mount.unmount({ lazy: true }).catch(() => {});
    await mount.abort();
    throw error;
  }
}

/** There is no path to look at: that INIT was answered must do. Nor can it be unmounted here, only ended. */
function overInherited(fd: number, options: ServingOptions): ServedMount {
  const { mountpoint, operations, log, dump } = options;
  const minor = connectionNumber(fd);
  const session = new FuseSession(fd, operations, { log: (line) => log.error(line), debug: dump });
  const { over } = session;
  let isOver = false;
  void over.then(() => {
    isOver = true;
  });
  let isGivenUp = false;
  // What we have ended ourselves, in place of an unmount, has ended in good order.
  const closed = session.closed.then((end) => (end === 'aborted' && isGivenUp ? 'unmounted' : end));
  const abort = async () => {
    // A copy of the descriptor that another process has kept would keep the connection, and who waits on it, alive.
    if (!isOver && minor !== undefined) await abortConnection(minor);
    session.abort();
    return true;
  };
  return {
    mount: {
      mountpoint,
      major: 0,
      minor,
      unmount: async () => {
        isGivenUp = true;
        await abort();
      },
      abort,
      setReadAhead: async (kibibytes) => minor !== undefined && setReadAhead(0, minor, kibibytes),
    },
    ready: session.ready.catch(async (error: unknown) => {
      if ((await closed) instanceof Error) throw error;
      throw new UserError(`${mountpoint} was unmounted, or aborted, before it was served.`, { cause: error });
    }),
    over,
    closed,
    counters: () => session.counters,
  };
}

async function overFuseNative(options: ServingOptions): Promise<ServedMount> {
  const { request, mountpoint, pinned, operations, log, dump } = options;
  const { client, fuse } = request;
  // Only on demand: the package is optional.
  const { mountFuseNative } = await import('../../fuse-native/index.js');
  const native = await mountFuseNative({
    mountpoint,
    pinned,
    source: request.source,
    readOnly: client.readOnly,
    noexec: fuse.noExec,
    defaultPermissions: fuse.defaultPermissions,
    directIo: !client.attributeCache,
    operations,
    log: (line) => log.warn(line),
    debug: dump,
  });
  log.warn(
    'fuse-native: a request to set only one of the two times of a file (tar x, touch -m) is ignored by libfuse 2.9 ' +
      'without an error; see README for its other limits.',
  );
  const { mount, closed } = native;
  return { mount, ready: Promise.resolve(), over: closed, closed, counters: () => native.counters };
}
