/**
 * Grants of locks that the server tells a mount (nlmcallback), so that a lock which waits arrives at once. For a mount that
 * may listen on port 111: root in a network namespace of its own, as in most containers.
 */
import { lookup } from 'node:dns/promises';
import { isIPv6 } from 'node:net';
import type { Logger } from '../../base/log.js';
import { UserError } from '../../base/user-error.js';
import { LockListenerError, ownAddressTowards, startLockListener } from '../../lock-listener/index.js';
import { ownCredential } from '../../vfs/caller/own-identity.js';
import type { ClientConfig } from '../../vfs/config.js';
import type { NfsFileSystem } from '../../vfs/filesystem.js';
import type { ExportSession } from '../../vfs/remote/export-session.js';

/** A mount that hears of grants, until it is closed. */
export interface LockGrants {
  close(): Promise<void>;
}

/**
 * Starts to listen, if `config` asks for that. Undefined: it does not, or no lock manager can call.
 * @throws UserError where the ports cannot be had.
 */
export async function hearLockGrants(
  config: ClientConfig,
  { lockManager }: ExportSession,
  { locks }: NfsFileSystem,
  log: Logger,
): Promise<LockGrants | undefined> {
  if (!config.lockCallback) return undefined;
  if (locks === undefined || lockManager === undefined) {
    log.warn('nlmcallback has no effect: the locks of this mount do not go to the server.');
    return undefined;
  }
  const servers = new Set((await lookup(config.host, { all: true })).map(({ address }) => address));
  const [server = config.host] = servers;
  // nfs-ganesha 4 looks the client up as one of IPv4, and takes the lock away again that it could not tell of, although the
  // client's next call may have been answered GRANTED meanwhile.
  if (isIPv6(server) && config.proto === 'tcp')
    throw new UserError(
      'nlmcallback cannot be had over IPv6 with TCP: nfs-ganesha cannot call such a client.',
      {
        remedy:
          'Leave nlmcallback out, name the server by an IPv4 address, or use proto=udp6. ' +
          'Without it, locks that wait are asked for again and again.',
      },
    );
  const own = await ownAddressTowards(server);
  try {
    return await startLockListener({
      addresses: [own],
      // A socket for both families shows IPv4 addresses in this form.
      isServer: (address) => servers.has(address.replace(/^::ffff:/, '')),
      onGranted: ({ lock }) => locks.granted(lock),
      answerTo: lockManager.rpc,
      credential: ownCredential(config.identity),
      log,
    });
  } catch (error) {
    if (!(error instanceof LockListenerError)) throw error;
    const reason = {
      taken: 'another program listens there, such as rpcbind or another mount with nlmcallback',
      'not permitted': 'that takes root, or CAP_NET_BIND_SERVICE',
      other: error.message,
    }[error.problem];
    throw new UserError(`nlmcallback needs port 111 of ${own}: ${reason}.`, {
      remedy:
        'Leave nlmcallback out: locks that wait are then asked for again and again, which needs no port.',
      cause: error,
    });
  }
}
