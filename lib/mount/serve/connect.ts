/** Connects the client proper with an export, for the process that serves a mount. */

import type { Logger } from '../../base/log.js';
import type { RpcClientOptions } from '../../rpc/index.js';
import { outOfReach } from '../../vfs/caller/own-identity.js';
import type { ClientConfig } from '../../vfs/config.js';
import { NfsFileSystem } from '../../vfs/filesystem.js';
import { ExportSession } from '../../vfs/remote/export-session.js';
import { summarize } from '../failure/unwritten.js';
import { collectGarbage } from '../process/engine.js';
import type { ConnectedFileSystem } from './mount-process.js';
import { mountStats } from './mount-stats.js';

/** `trace` gets a line for every remote call. Throws what ExportSession.connect throws. */
export async function connectFileSystem(
  config: ClientConfig,
  log: Logger,
  trace: ((line: string) => void) | undefined,
): Promise<ConnectedFileSystem> {
  const rpc: Partial<RpcClientOptions> = { trace };
  const session = await ExportSession.connect(config, { log, rpc });
  const fileSystem = new NfsFileSystem(session, config, { log, collectGarbage });
  const { rootAttributes } = session;
  const own = outOfReach(config.identity, rootAttributes);
  if (own !== undefined)
    log.warn(
      'The exported directory belongs to somebody whom this user namespace does not have ' +
        `(${rootAttributes.uid}:${rootAttributes.gid}): the kernel lets nobody change it, although the server would. ` +
        `With -o uid=${own.uid},gid=${own.gid} others’ files are shown as your own, and the server alone decides.`,
    );
  return {
    operations: fileSystem,
    shutdown: () => fileSystem.shutdown(),
    writeBack: () => fileSystem.writeBack(),
    losses: () => fileSystem.counters.losses,
    unwritten: () => summarize(fileSystem.unwritten()),
    stats: () => mountStats(session, fileSystem),
  };
}
