/** Explains errors of ONC RPC: a server that cannot be reached, does not answer, refuses, or answers nonsense. */
import { UserError } from '../../base/user-error.js';
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
import { causes, type Explainer, RESERVED_PORT, sentence } from './explainer.js';
import { LOOKUP_CODES, lookupFailure } from './lookup-failure.js';

export const explainRpc: Explainer = (error, { config }) =>
  error instanceof RpcError ? rpcFailure(error, config) : undefined;

function rpcFailure(error: RpcError, config: ClientConfig): UserError {
  const fail = (message: string, remedy: string) => new UserError(message, { remedy, cause: error });
  if (error instanceof RpcConnectError) return connectFailure(error, config);
  const garbage = [...causes(error)].find((cause) => cause instanceof RpcGarbageError);
  if (garbage !== undefined)
    return fail(
      `${config.host} gives no NFS answers: ${garbage.message}.`,
      'The program that answers there is no NFS server, or something in between damages what it says: ' +
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

/** Where the number of a port came from. */
function whichPort(port: number, config: ClientConfig): string {
  const names: string[] = [];
  if (port === config.port) names.push('port=, NFS');
  if (port === config.mountPort) names.push('mountport=, MOUNT');
  if (port === config.lockPort) names.push('nlmport=, NLM');
  return names.length === 0 ? 'found through the portmapper' : names.join('; ');
}
