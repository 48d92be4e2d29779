/** From the typed errors of the layers below to what is told the user: what is wrong, and what to do. */

import { shownName } from '../../base/shown-name.js';
import { lackBehind } from '../../base/surroundings.js';
import { UserError } from '../../base/user-error.js';
import {
  Errno,
  errnoName,
  FuseError,
  MountError as FuseMountError,
  type MountErrorCode,
} from '../../fuse/index.js';
import { tryNamespace, withWayOut } from '../../namespace/namespace.js';
import {
  MountError as MountRefusedError,
  MountStatus,
  mountStatusName,
} from '../../programs/mount3/index.js';
import {
  PORTMAP_PORT,
  PortmapUnreachableError,
  ProgramNotRegisteredError,
} from '../../programs/portmap/index.js';
import {
  AuthStat,
  RpcAuthError,
  RpcConnectError,
  RpcError,
  RpcGarbageError,
  RpcProgramMismatchError,
  RpcProgramUnavailableError,
  RpcTimeoutError,
} from '../../rpc/index.js';
import type { ClientConfig } from '../../vfs/config.js';

const MOUNT_PROGRAM_NUMBER = 100005;

/** What to do about a server that answers only to ports that take privilege. */
export const RESERVED_PORT =
  'The server wants a reserved port (below 1024): export it with `insecure`, or mount with resvport (as root).';
const GIVE_PORTS =
  'Without a portmapper, give port= and mountport=, as in -o port=2049,mountport=20048 ' +
  '(with nfs-fuse serve and many others both are the same port).';

/** Failures that waiting may cure: the server is not up yet, or the network is not. */
const TEMPORARY_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'EPIPE',
  'ETIMEDOUT',
  'EAI_AGAIN',
]);

/** What getaddrinfo(3) complains of. */
const LOOKUP_CODES = new Set(['ENOTFOUND', 'EAI_NONAME', 'EAI_NODATA', 'EAI_AGAIN', 'EAI_FAIL']);

/** What the server exports, and to whom, one string per export; undefined where it does not say. */
export type ListExports = () => Promise<readonly ExportSummary[] | undefined>;

export interface ExportSummary {
  readonly path: string;
  readonly clients: readonly string[];
}

/** Whether the same attempt may succeed a little later. */
export function isTemporary(error: unknown): boolean {
  for (const cause of causes(error)) {
    if (cause instanceof RpcTimeoutError || cause instanceof ProgramNotRegisteredError) return true;
    if (TEMPORARY_CODES.has(codeOf(cause) ?? '')) return true;
  }
  return false;
}

/** Any failure of connecting or mounting as one for the user; bugs stay what they are. */
export async function mountFailure(
  error: unknown,
  config: ClientConfig,
  listExports: ListExports,
): Promise<unknown> {
  if (error instanceof UserError) return error;
  const lack = lackBehind(error);
  if (lack !== undefined) return new UserError(lack.message, { remedy: lack.remedy, cause: error });
  if (error instanceof FuseMountError) return withoutRights(fuseFailure(error), error.code);
  for (const cause of causes(error)) {
    if (cause instanceof MountRefusedError) return refusedExport(cause, config, listExports);
    if (cause instanceof PortmapUnreachableError) return portmapperFailure(cause, config);
    if (cause instanceof ProgramNotRegisteredError) return notRegistered(cause, config);
    if (cause instanceof RpcError) return rpcFailure(cause, config);
    if (cause instanceof FuseError) return rootFailure(cause, config);
  }
  return error;
}

/** What to do where lib/fuse leaves it open. */
const FUSE_REMEDIES: Partial<Record<MountErrorCode, string>> = {
  'mountpoint-not-directory': 'Mount on an existing directory.',
  'mountpoint-refused': 'Mount on a directory that this user may enter.',
  'already-mounted': 'Use it as it is, or unmount it first with "nfs-fuse umount".',
};

/** There is no right to mount. */
const WITHOUT_RIGHTS: ReadonlySet<MountErrorCode> = new Set([
  'refused',
  'no-fusermount',
  'fusermount-not-setuid',
]);

/** Tells who has no right to mount what works without one, if it does. */
function withoutRights(failure: unknown, code: MountErrorCode): unknown {
  if (!WITHOUT_RIGHTS.has(code) || !(failure instanceof UserError)) return failure;
  const { message, remedy, cause } = failure;
  return new UserError(message, { remedy: withWayOut(remedy, tryNamespace()), cause });
}

/** What lib/fuse complains of. `busyRemedy`: what to do about a mount that is in use. */
export function fuseFailure(error: unknown, busyRemedy?: string): unknown {
  if (!(error instanceof FuseMountError)) return error;
  const { remedy, message, code } = error;
  const what = remedy === undefined ? message : message.slice(0, -`; ${remedy}`.length);
  const advice = code === 'busy' && busyRemedy !== undefined ? busyRemedy : (remedy ?? FUSE_REMEDIES[code]);
  return new UserError(sentence(what), {
    remedy: advice === undefined ? undefined : sentence(advice),
    cause: error,
  });
}

async function refusedExport(
  error: MountRefusedError,
  config: ClientConfig,
  listExports: ListExports,
): Promise<UserError> {
  const path = config.exportPath.toString('utf8');
  const fail = (message: string, remedy: string) => new UserError(message, { remedy, cause: error });
  const status = mountStatusName(error.status);
  switch (error.status) {
    case MountStatus.NOTDIR:
      return fail(
        `${path} on ${config.host} is not a directory (${status}).`,
        'Mount the directory that it is in.',
      );
    case MountStatus.NOENT:
      return fail(
        `${config.host} has no directory ${path} to mount (${status}).`,
        exportList(await listExports()) ?? `Ask the server: nfs-fuse exports ${config.host}`,
      );
    case MountStatus.ACCES:
    case MountStatus.PERM: {
      const exports = await listExports();
      const own = exports?.find((entry) => entry.path === path);
      const message = `${config.host} does not let this machine mount ${path} (${status}).`;
      if (own !== undefined) {
        const clients = own.clients.length === 0 ? 'everybody' : own.clients.map(shownName).join(', ');
        return fail(
          message,
          config.resvport
            ? `It exports ${path} to ${clients}: add this machine to them.`
            : `It exports ${path} to ${clients}. If this machine is among them: ${lowerFirst(RESERVED_PORT)}`,
        );
      }
      const list = exportList(exports);
      if (list !== undefined) return fail(message, list);
      return fail(
        message,
        `Add this machine to the clients of the export. If it is among them: ${lowerFirst(RESERVED_PORT)}`,
      );
    }
    default:
      return fail(sentence(error.message), 'The log of the server may say why.');
  }
}

/** mountd said yes, but the NFS server itself does not show the root. */
function rootFailure(error: FuseError, config: ClientConfig): UserError {
  const path = config.exportPath.toString('utf8');
  const fail = (message: string, remedy: string) => new UserError(message, { remedy, cause: error });
  switch (error.errno) {
    case Errno.EPERM:
    case Errno.EACCES:
      return fail(
        `${config.host} lets this machine mount ${path}, but not look at it (${error.message}).`,
        config.resvport ? 'Check who may enter the exported directory on the server.' : RESERVED_PORT,
      );
    case Errno.ENOTDIR:
      return fail(`${path} on ${config.host} is not a directory.`, 'Mount the directory that it is in.');
    default:
      return fail(
        `The exported directory ${path} on ${config.host} cannot be used (${error.message || errnoName(error.errno)}).`,
        'Export it again on the server (exportfs -r); its log may say more.',
      );
  }
}

/** What the server exports, as one sentence; undefined where that is unknown. */
export function exportList(exports: readonly ExportSummary[] | undefined): string | undefined {
  if (exports === undefined) return undefined;
  if (exports.length === 0) return 'The server exports nothing.';
  return `The server exports: ${exports.map((entry) => shownName(entry.path)).join(', ')}`;
}

function rpcFailure(error: RpcError, config: ClientConfig): UserError {
  const fail = (message: string, remedy: string) => new UserError(message, { remedy, cause: error });
  if (error instanceof RpcConnectError) return connectFailure(error, config);
  const garbage = [...causes(error)].find((cause) => cause instanceof RpcGarbageError);
  if (garbage !== undefined)
    return fail(
      `${config.host} gives no NFS answers: ${garbage.message}.`,
      'What answers there is not an NFS server, or something in between damages what it says: ' +
        'check the host, port= and mountport=, and what the connection goes through.',
    );
  if (error instanceof RpcTimeoutError)
    return fail(
      `${config.host} does not answer.`,
      'Check that the server is up and no firewall is in between; retry=minutes goes on trying.',
    );
  if (error instanceof RpcAuthError && error.authStat === AuthStat.TOOWEAK && !config.resvport)
    return fail(`${config.host} refuses our credentials (${error.authStatName}).`, RESERVED_PORT);
  if (error instanceof RpcProgramMismatchError)
    return fail(
      `${config.host} does not offer NFSv3: ${error.message}.`,
      'Switch NFSv3 on at the server (vers3=y in nfs.conf, Protocols in ganesha.conf).',
    );
  if (error instanceof RpcProgramUnavailableError)
    return fail(
      `${config.host}: ${error.message}.`,
      'The port belongs to another program: check port= (NFS) and mountport= (MOUNT).',
    );
  return fail(
    `${config.host} cannot be used: ${sentence(error.message)}`,
    'Check that port= and mountport= are those of an NFSv3 server.',
  );
}

/** The portmapper comes first, so it is also where an unknown or silent host shows. */
function portmapperFailure(error: PortmapUnreachableError, config: ClientConfig): UserError {
  const { host } = config;
  const code = [...causes(error)].map(codeOf).find((name) => name !== undefined) ?? '';
  const fail = (message: string, remedy: string) => new UserError(message, { remedy, cause: error });
  if (LOOKUP_CODES.has(code)) return lookupFailure(host, code, error);
  if (code === 'ECONNREFUSED')
    return fail(`There is no portmapper on ${host} (port ${PORTMAP_PORT} refuses connections).`, GIVE_PORTS);
  if (TEMPORARY_CODES.has(code))
    return fail(`${host} does not answer on port ${PORTMAP_PORT}, the portmapper's (${code}).`, GIVE_PORTS);
  return fail(`The portmapper of ${host} gives no usable answer.`, GIVE_PORTS);
}

function notRegistered(error: ProgramNotRegisteredError, config: ClientConfig): UserError {
  const { host, proto } = config;
  const program =
    error.program === MOUNT_PROGRAM_NUMBER
      ? `the MOUNT service (program ${error.program})`
      : `NFS (program ${error.program})`;
  return new UserError(
    `The portmapper of ${host} knows no port of ${program} version ${error.version} over ${proto.toUpperCase()}.`,
    {
      remedy:
        error.program === MOUNT_PROGRAM_NUMBER
          ? 'Start rpc.mountd on the server, or give mountport=.'
          : 'Start the NFS server with NFSv3 switched on, or give port=.',
      cause: error,
    },
  );
}

/** `code`: of getaddrinfo(3). */
export function lookupFailure(host: string, code: string, cause: unknown): UserError {
  if (code === 'EAI_AGAIN')
    return new UserError(`The name of the server ${host} cannot be looked up just now.`, {
      remedy: "Check the network and the name server, or give the server's address.",
      cause,
    });
  return new UserError(`The server ${host} is unknown: its name has no address.`, {
    remedy: "Check the spelling, or give the server's address.",
    cause,
  });
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

function connectFailure(error: RpcConnectError, config: ClientConfig): UserError {
  const { code, host, port } = error;
  const fail = (message: string, remedy: string) => new UserError(message, { remedy, cause: error });
  if (LOOKUP_CODES.has(code)) return lookupFailure(host, code, error);
  switch (code) {
    case 'ECONNREFUSED':
      return fail(
        `${host} refuses connections to port ${port} (${whichPort(port, config)}).`,
        `Check that the server runs there; retry=minutes goes on trying.`,
      );
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EHOSTDOWN':
      return fail(
        `${host} does not answer on port ${port} (${code}).`,
        'Check that the server is up and no firewall is in between; retry=minutes goes on trying.',
      );
    case 'EACCES':
    case 'EPERM':
      return fail(
        `Connecting to ${host} port ${port} is not permitted (${code}).`,
        config.resvport
          ? 'A port below 1024 takes root or the capability NET_BIND_SERVICE: leave out resvport and export with `insecure`.'
          : 'A firewall or security profile of this machine forbids it.',
      );
    default:
      return fail(
        `The connection to ${host} port ${port} failed (${code}).`,
        `Check that an NFSv3 server runs there (${whichPort(port, config)}).`,
      );
  }
}

function whichPort(port: number, config: ClientConfig): string {
  const names: string[] = [];
  if (port === config.port) names.push('port=, NFS');
  if (port === config.mountPort) names.push('mountport=, MOUNT');
  return names.length === 0 ? 'found through the portmapper' : names.join('; ');
}

function* causes(error: unknown): Iterable<unknown> {
  for (let cause = error; cause !== undefined; cause = cause instanceof Error ? cause.cause : undefined)
    yield cause;
}

/** Begins with a capital, unless it begins with a path or a name that is no word, and ends with a full stop. */
function sentence(text: string): string {
  const first = /^[a-z][a-z]*\b(?![./=:-])/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.?!]$/.test(first) ? first : `${first}.`;
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
