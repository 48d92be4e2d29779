/**
 * The connection with one export: finds the ports, asks mountd for the root (MNT), learns the sizes (FSINFO,
 * PATHCONF), and asks mountd again when the root's handle has become stale. Says good-bye with UMNT.
 */
import { randomInt } from 'node:crypto';
import { hostname } from 'node:os';
import type { Logger } from '../../base/log.js';
import { MOUNT_PROGRAM, Mount3Client } from '../../programs/mount3/index.js';
import {
  type Fattr3,
  type FileHandle,
  FileType,
  FSINFO,
  type Fsinfo,
  GETATTR,
  NFS_PROGRAM,
  PATHCONF,
  Status,
} from '../../programs/nfs3/index.js';
import { programService } from '../../programs/program-service.js';
import {
  type Clock,
  type Credential,
  type RpcClient,
  type ServiceOptions,
  systemClock,
} from '../../rpc/index.js';
import { ownCredential } from '../caller/own-identity.js';
import { type ClientConfig, NAME_MAX, type TransferLimits } from '../config.js';
import {
  type LockManager,
  LockManagerError,
  openLockManager,
  reachLockManager,
  wantsLockManager,
} from './lock-manager.js';
import type { RootFinder } from './redrive.js';
import { ServerRestarts } from './server-restarts.js';
import { statusError } from './status-errno.js';

/** Nothing larger goes through the kernel's FUSE in one request. */
const MAX_TRANSFER = 1024 * 1024;
const LEAST_TRANSFER = 1024;
const PAGE = 4096;
/** Mounting must not hang: 10 s, twice, whatever the options say of the time afterwards (mount.nfs does the same). */
const MOUNT_RPC = { timeo: 100, retrans: 1, recovery: 'soft', connectTimeout: 10_000 } as const;
/** Nobody waits long for a good-bye: 2 s. */
const UMNT_RPC = { timeo: 20, retrans: 0, connectTimeout: 2_000 } as const;
/** After mountd refused, it is left alone for so long. */
const REFUSED_PAUSE_MS = 1_000;
/** Over UDP a message has to fit one datagram, and IP fragments are best few. */
const MAX_UDP_TRANSFER = 32 * 1024;

/** An export as an earlier process of the same mount has reached it. */
export interface KnownExport {
  readonly root: FileHandle;
  /** Of NFS. */
  readonly port: number;
  /** Undefined: locks were not the server's affair, and the kernel was told so. */
  readonly lockPort: number | undefined;
}

export interface SessionDependencies {
  readonly log: Logger;
  readonly clock?: Clock | undefined;
  /** Further options of every RPC connection. */
  readonly rpc?: ServiceOptions | undefined;
  /** Neither mountd nor a portmapper is asked, as long as the root is there. */
  readonly known?: KnownExport | undefined;
}

/**
 * A size for READ or WRITE: what the user asked for, else what the server prefers, within what both allow, in
 * whole pages (nfs(5) rsize).
 */
export function transferSize(
  asked: number | undefined,
  preferred: number,
  most: number,
  ceiling: number,
): number {
  const limit = Math.min(most > 0 ? most : ceiling, ceiling);
  const wanted = Math.min(asked ?? (preferred > 0 ? Math.max(preferred, limit) : limit), limit);
  return wanted >= PAGE ? wanted - (wanted % PAGE) : Math.max(LEAST_TRANSFER, wanted);
}

/** The ways to the server. */
interface Ways {
  readonly rpc: RpcClient;
  readonly lockManager: LockManager | undefined;
  readonly restarts: ServerRestarts;
}

export class ExportSession implements RootFinder {
  readonly rpc: RpcClient;
  /** Undefined: locks are not the server's affair. */
  readonly lockManager: LockManager | undefined;
  readonly restarts: ServerRestarts;
  readonly machineName = hostname();
  readonly limits: TransferLimits;
  readonly rootHandle: FileHandle;
  readonly rootAttributes: Fattr3;
  /** Of NFS. */
  readonly port: number;
  /** Tells the node ids of this mount from those of an earlier one, for handles that a re-export gave out. */
  readonly generation = randomInt(1, 2 ** 31);
  readonly #config: ClientConfig;
  readonly #dependencies: SessionDependencies;
  readonly #clock: Clock;
  #refusedAt = Number.NEGATIVE_INFINITY;
  #refusalLogged = false;

  private constructor(config: ClientConfig, dependencies: SessionDependencies, ways: Ways, root: FoundRoot) {
    this.#config = config;
    this.#dependencies = dependencies;
    this.#clock = dependencies.clock ?? systemClock;
    this.rpc = ways.rpc;
    this.lockManager = ways.lockManager;
    this.restarts = ways.restarts;
    this.rootHandle = root.handle;
    this.rootAttributes = root.attributes;
    this.limits = root.limits;
    this.port = root.port;
  }

  /**
   * Mounts the export, in bounded time. Throws PortmapError, MountRefused, RpcError, or FuseError
   * when the root cannot be looked at.
   */
  static async connect(config: ClientConfig, dependencies: SessionDependencies): Promise<ExportSession> {
    const restarts = new ServerRestarts();
    const lockManager = lockManagerIfOffered(config, { ...dependencies, restarts });
    // The first failure to be seen may be another one.
    lockManager.catch(() => {});
    const root = await findRoot(config, dependencies);
    const { host, port, proto, recovery, retrans, nconnect, resvport } = config;
    const address = { host, port, protocol: proto, resvport };
    const offered = await lockManager;
    const locks = offered instanceof LockManagerError ? undefined : offered;
    if (offered instanceof LockManagerError)
      dependencies.log.warn(
        `${offered.message}: locks exclude only the programs of this mount. ` +
          'With -o nolock this is not said; with -o lock mounting fails instead.',
      );
    const service = programService(NFS_PROGRAM, address, {
      ...dependencies.rpc,
      recovery,
      retrans,
      nconnect,
      timeo: Math.max(1, Math.round(config.timeoMs / 100)),
      log: (message) => dependencies.log.warn(message),
      onConnected: restarts.watching(nconnect),
    });
    const rpc = service.open(root.port);
    return new ExportSession(config, dependencies, { rpc, lockManager: locks, restarts }, root);
  }

  /** See RootFinder. A refusal is logged once per outage, and not asked for again at once. */
  async findRoot(): Promise<FileHandle | undefined> {
    if (this.#clock.now() - this.#refusedAt < REFUSED_PAUSE_MS) return undefined;
    const { log } = this.#dependencies;
    const name = `${this.#config.host}:${this.#config.exportPath.toString('utf8')}`;
    try {
      const grant = await askMountd(this.#config, this.#dependencies, (mountd) =>
        mountd.mount(this.#config.exportPath),
      );
      if (this.#refusalLogged) log.info(`${name}: the export is back`);
      this.#refusalLogged = false;
      return grant.handle;
    } catch (error) {
      this.#refusedAt = this.#clock.now();
      if (!this.#refusalLogged) {
        const reason = error instanceof Error ? error.message : String(error);
        log.error(
          `${name}: the server no longer knows the export's root: ${reason}. Asked again when it is used.`,
        );
      }
      this.#refusalLogged = true;
      return undefined;
    }
  }

  /** Tells mountd that we are gone, if it can be told quickly, and closes the connections. Never rejects. */
  async close(): Promise<void> {
    this.rpc.close();
    try {
      await askMountd(
        this.#config,
        this.#dependencies,
        (mountd) => mountd.unmount(this.#config.exportPath),
        UMNT_RPC,
      );
    } catch {
      // RFC 1813 5.2.3: the list that UMNT updates is for information only.
    }
  }
}

/** Undefined: none is wanted. @throws LockManagerError where the user insists on locks at the server. */
async function lockManagerIfOffered(
  config: ClientConfig,
  dependencies: SessionDependencies & { readonly restarts: ServerRestarts },
): Promise<LockManager | LockManagerError | undefined> {
  if (!wantsLockManager(config)) return undefined;
  const { known } = dependencies;
  // The kernel goes by the earlier process's word on where locks are.
  if (known !== undefined)
    return known.lockPort === undefined ? undefined : openLockManager(config, dependencies, known.lockPort);
  try {
    return await reachLockManager(config, dependencies);
  } catch (error) {
    if (config.locks === 'insist' || !(error instanceof LockManagerError)) throw error;
    return error;
  }
}

/** One question to mountd, over a connection of its own, in bounded time. `times` change the bounds. */
export async function askMountd<Answer>(
  config: ClientConfig,
  dependencies: SessionDependencies,
  ask: (mountd: Mount3Client) => Promise<Answer>,
  times?: ServiceOptions,
): Promise<Answer> {
  const host = config.mountHost ?? config.host;
  const { mountPort: port, proto: protocol, resvport } = config;
  const address = { host, port, protocol, resvport, portmap: { rpc: times } };
  const service = programService(MOUNT_PROGRAM, address, { ...dependencies.rpc, ...MOUNT_RPC, ...times });
  return service.ask((rpc) => ask(new Mount3Client(rpc, ownCredential(config.identity), host)));
}

/** The root of an export, and the way to it. */
interface FoundRoot {
  readonly handle: FileHandle;
  readonly attributes: Fattr3;
  readonly limits: TransferLimits;
  /** Of NFS. */
  readonly port: number;
}

async function findRoot(config: ClientConfig, dependencies: SessionDependencies): Promise<FoundRoot> {
  const { host, port, proto: protocol, resvport } = config;
  const address = { host, port, protocol, resvport };
  const { known } = dependencies;
  const look = async (at: number, handle: FileHandle): Promise<FoundRoot> => {
    const options = { ...dependencies.rpc, ...MOUNT_RPC };
    const probe = programService(NFS_PROGRAM, { ...address, port: at }, options);
    const credential = ownCredential(config.identity);
    return { ...(await probe.ask((rpc) => learn(config, rpc, handle, credential))), port: at };
  };
  // Where the root is not what it was, the way from the beginning says why.
  const again = known && (await look(known.port, known.root).catch(() => undefined));
  if (again !== undefined) return again;
  const { handle } = await askMountd(config, dependencies, (mountd) => mountd.mount(config.exportPath));
  return look(await programService(NFS_PROGRAM, address).port(), handle);
}

async function learn(
  config: ClientConfig,
  rpc: RpcClient,
  handle: FileHandle,
  credential: Credential,
): Promise<Omit<FoundRoot, 'port'>> {
  const object = handle;
  const [attributes, fsinfo, pathconf] = await Promise.all([
    rpc.call(GETATTR, { object }, { credential }),
    rpc.call(FSINFO, { object }, { credential }),
    rpc.call(PATHCONF, { object }, { credential }),
  ]);
  if (attributes.status !== Status.OK) throw statusError(attributes.status);
  if (attributes.attributes.type !== FileType.DIR) throw statusError(Status.NOTDIR);
  const sizes: Pick<Fsinfo, 'rtmax' | 'rtpref' | 'wtmax' | 'wtpref' | 'dtpref'> =
    fsinfo.status === Status.OK ? fsinfo : { rtmax: 0, rtpref: 0, wtmax: 0, wtpref: 0, dtpref: 0 };
  const ceiling = config.proto === 'udp' ? MAX_UDP_TRANSFER : MAX_TRANSFER;
  const limits: TransferLimits = {
    rsize: transferSize(config.rsize, sizes.rtpref, sizes.rtmax, ceiling),
    wsize: transferSize(config.wsize, sizes.wtpref, sizes.wtmax, ceiling),
    dtsize: transferSize(undefined, sizes.dtpref, Math.max(sizes.rtmax, sizes.dtpref), ceiling),
    // A server that promises more than the kernel's file systems hold is taken at theirs (ganesha says 1024).
    nameMax:
      pathconf.status === Status.OK && pathconf.nameMax > 0 ? Math.min(pathconf.nameMax, NAME_MAX) : NAME_MAX,
  };
  return { handle, attributes: attributes.attributes, limits };
}
