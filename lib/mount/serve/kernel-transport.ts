/**
 * The ways to the kernel, behind one interface: our own FUSE protocol over a mount that we make, the same over an inherited
 * mount, or libfuse through the package fuse-native.
 */

import type { Logger } from '../../base/log.js';
import { knownName } from '../../base/nearest-name.js';
import { UserError } from '../../base/user-error.js';
import type { FuseOperations } from '../../fuse/contract/operations.js';
import {
  abortConnection,
  adoptMount,
  type ConnectionInfo,
  connectionNumber,
  FuseSession,
  InitFlag,
  type KernelMount,
  labelNames,
  type MountOptions,
  mountKernel,
  type PinnedDirectory,
  type SessionEnd,
  setReadAhead,
} from '../../fuse/index.js';
import type { MadeBy } from '../keep/facts.js';
import type { MountRequest } from '../options/mount-options.js';

/** The first is the default. */
export const KERNEL_TRANSPORTS = ['kernel', 'fuse-native'] as const;
export type KernelTransport = (typeof KERNEL_TRANSPORTS)[number];

export interface ServingOptions {
  readonly request: MountRequest;
  readonly mountpoint: string;
  /** The mount point as it was when the command started; undefined for an inherited mount. Closed by mounting. */
  readonly pinned: PinnedDirectory | undefined;
  /** The descriptor of a mount that another process made; then `mountpoint` is only its name. */
  readonly inherited: number | undefined;
  readonly operations: FuseOperations;
  readonly log: Logger;
  /** Gets a line for every request and reply. */
  readonly dump: ((line: string) => void) | undefined;
  /** Gets the agreement with the kernel, before the kernel hears of it. Not called over libfuse. */
  agreed?(connection: ConnectionInfo, mount: ServedMount['mount']): void;
  /** See SessionOptions. */
  readonly underWay?: Float64Array | undefined;
  /** The mount of an earlier process with which this one goes on. */
  readonly resumed?: ResumedMount | undefined;
}

export interface ResumedMount {
  /** /dev/fuse, past INIT. */
  readonly fd: number;
  readonly madeBy: MadeBy;
  readonly connection: ConnectionInfo;
  /** Requests that the process before has left to this one. */
  readonly requests: readonly Uint8Array[] | undefined;
}

/** /dev/fuse as it is served, and how it was mounted. */
export interface ServedDevice {
  readonly madeBy: MadeBy;
  /** Undefined: the connection is over, and the number may be another file's. To be used at once, not after an await. */
  readonly fd: number | undefined;
}

/** A mount that is served, whatever the way to the kernel. */
export interface ServedMount {
  readonly mount: Pick<KernelMount, 'mountpoint' | 'major' | 'unmount' | 'abort' | 'setReadAhead'> & {
    /** Undefined over libfuse, which keeps it to itself. */
    readonly device: ServedDevice | undefined;
    /** Undefined: an old kernel does not tell it for an inherited descriptor. */
    readonly minor: number | undefined;
  };
  /** Resolves when the protocol is negotiated with the kernel. */
  readonly ready: Promise<unknown>;
  /** Resolves when the kernel has let go of the mount. Earlier requests may still be in progress. Never rejects. */
  readonly over: Promise<unknown>;
  /** Resolves when the last request has been answered as well. Never rejects. */
  readonly closed: Promise<SessionEnd>;
  counters(): object;
  /**
   * Stops to serve and leaves the connection to another process, with the requests that are not answered: see HandedOver.
   * @throws UserError if the connection is over. Undefined over libfuse.
   */
  detach?(): Promise<readonly Uint8Array[]>;
}

/** The way to the kernel that `name` means; the default without a name. @throws UserError for an unknown name. */
export function parseKernelTransport(name: string | undefined): KernelTransport {
  if (name === undefined) return KERNEL_TRANSPORTS[0];
  return knownName('--transport', name, KERNEL_TRANSPORTS);
}

/** @throws UserError for options that this way to the kernel cannot support safely. */
export function checkKernelTransport(transport: KernelTransport, { client, fuse }: MountRequest): void {
  if (transport !== 'fuse-native') return;
  if (client.locks === 'insist')
    throw new UserError(
      'lock is not possible with --transport fuse-native: it keeps all locks on this machine.',
      {
        remedy: 'Use --transport kernel, or leave lock out.',
      },
    );
  if (fuse.allowOther)
    throw new UserError(
      'allow_other is not possible with --transport fuse-native: it does not tell users apart, so everybody would ' +
        'act as the user who mounts.',
      { remedy: 'Use --transport kernel, or leave allow_other out.' },
    );
  if (client.identity.idmapped === true)
    throw new UserError(
      'idmapped is not possible with --transport fuse-native: libfuse 2.9 does not know it.',
      {
        remedy: 'Use --transport kernel, or leave idmapped out.',
      },
    );
  const labels = labelNames(fuse.labels).map((name) => `${name}=`);
  if (labels.length > 0)
    throw new UserError(`${labels.join(' and ')} is not possible with --transport fuse-native.`, {
      remedy: 'Use --transport kernel, or leave that out.',
    });
}

/** Mounts, unless the mount is inherited, and serves it. @throws MountError */
export async function mountOver(transport: KernelTransport, options: ServingOptions): Promise<ServedMount> {
  const { inherited, resumed } = options;
  if (resumed?.madeBy === 'inherited') return overInherited(resumed.fd, options);
  if (inherited !== undefined) return overInherited(inherited, options);
  if (resumed !== undefined) return overAdopted(resumed, options);
  return transport === 'kernel' ? overKernel(options) : overFuseNative(options);
}

/** The part of a request that is the kernel's, for whoever makes the mount. */
export function kernelMountOptions({ source, client, fuse }: MountRequest): Omit<MountOptions, 'mountpoint'> {
  return {
    source,
    readOnly: client.readOnly,
    noexec: fuse.noExec,
    // For `sync`, the client sends WRITEs that are stable at once. The kernel would add an fsync to each write(2).
    flags: { ...fuse.flags, sync: false },
    allowOther: fuse.allowOther,
    // The kernel's dentry cache does not distinguish users. Without its own check, a user whom the server keeps out of a
    // directory could reach names below it that another user has looked up. With uid= and gid=, to the server all callers
    // are one user, so this check is the only one.
    defaultPermissions: fuse.defaultPermissions || fuse.allowOther,
    labels: fuse.labels,
  };
}

async function overKernel(options: ServingOptions): Promise<ServedMount> {
  const { request, mountpoint, pinned } = options;
  const mount = await mountKernel({ mountpoint, pinned, ...kernelMountOptions(request) });
  try {
    return served(mount, options);
  } catch (error) {
    await abandon(mount);
    throw error;
  }
}

/** The mount of an earlier process. If it cannot be served, it stays as it is, for the next attempt. */
async function overAdopted({ fd, madeBy }: ResumedMount, options: ServingOptions): Promise<ServedMount> {
  const method = madeBy === 'fusermount' ? madeBy : 'direct';
  return served(await adoptMount(fd, { mountpoint: options.mountpoint, method }), options);
}

function served(made: KernelMount, options: ServingOptions): ServedMount {
  const mount = { ...made, device: deviceOf(made.fd, made.method, () => session) };
  const session = sessionOf(made.fd, mount, options);
  const { over, closed } = session;
  const ready = readyOr(session, closed, made.mountpoint);
  return { mount, ready, over, closed, counters: () => session.counters, detach: () => detach(session) };
}

/** Resolves when the session is ready. @throws UserError if somebody ended the mount before. */
function readyOr(session: FuseSession, closed: Promise<SessionEnd>, mountpoint: string): Promise<unknown> {
  const ready = session.ready.catch(async (error: unknown) => {
    if ((await closed) instanceof Error) throw error;
    throw new UserError(`${mountpoint} was unmounted, or aborted, before it was served.`, { cause: error });
  });
  ready.catch(() => {});
  return ready;
}

/** `session`: asked when the descriptor is. */
function deviceOf(fd: number, madeBy: MadeBy, session: () => FuseSession): ServedDevice {
  return {
    madeBy,
    get fd() {
      return session().isOver ? undefined : fd;
    },
  };
}

async function detach(session: FuseSession): Promise<readonly Uint8Array[]> {
  const left = await session.detach();
  if (left === undefined) throw new UserError('The mount has ended meanwhile.');
  return left.requests;
}

function sessionOf(fd: number, mount: ServedMount['mount'], options: ServingOptions): FuseSession {
  const { operations, log, dump, agreed, resumed, underWay, request } = options;
  return new FuseSession(fd, operations, {
    log: (line) => log.error(line),
    debug: dump,
    resumed: resumed?.connection,
    requests: resumed?.requests,
    underWay,
    agreed: (connection) => {
      if (request.client.identity.idmapped === true && (connection.flags & InitFlag.ALLOW_IDMAP) === 0n)
        log.warn(
          'This kernel cannot idmap FUSE mounts: that takes Linux 6.12. The option idmapped is without effect.',
        );
      agreed?.(connection, mount);
    },
  });
}

/** Takes away a mount that cannot be served after all. */
export async function abandon(mount: Pick<KernelMount, 'unmount' | 'abort'>): Promise<void> {
  await mount.unmount({ lazy: true }).catch(() => {});
  await mount.abort();
}

/** An inherited mount has no path to look at, so it counts as ready after INIT. It cannot be unmounted here, only ended. */
function overInherited(fd: number, options: ServingOptions): ServedMount {
  const { mountpoint } = options;
  const minor = connectionNumber(fd);
  let isOver = false;
  let isGivenUp = false;
  const abort = async () => {
    // Another process may hold a copy of the descriptor, which would keep the connection and its waiting callers alive.
    if (!isOver && minor !== undefined) await abortConnection(minor);
    session.abort();
    return true;
  };
  const mount: ServedMount['mount'] = {
    mountpoint,
    device: deviceOf(fd, 'inherited', () => session),
    major: 0,
    minor,
    unmount: async () => {
      isGivenUp = true;
      await abort();
    },
    abort,
    setReadAhead: async (kibibytes) => minor !== undefined && setReadAhead(0, minor, kibibytes),
  };
  const session = sessionOf(fd, mount, options);
  const { over } = session;
  void over.then(() => {
    isOver = true;
  });
  // We abort the connection in place of an unmount, so this end is in good order.
  const closed = session.closed.then((end) => (end === 'aborted' && isGivenUp ? 'unmounted' : end));
  return {
    mount,
    ready: readyOr(session, closed, mountpoint),
    over,
    closed,
    counters: () => session.counters,
    detach: () => detach(session),
  };
}

async function overFuseNative(options: ServingOptions): Promise<ServedMount> {
  const { request, mountpoint, pinned, operations, log, dump } = options;
  const { client, fuse } = request;
  // The package is optional, so it is loaded only on demand.
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
  const { closed } = native;
  const mount = { ...native.mount, device: undefined };
  return { mount, ready: Promise.resolve(), over: closed, closed, counters: () => native.counters };
}
