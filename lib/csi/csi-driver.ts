/** The driver as a whole: which services it offers, on which socket, and its end. */
import type { LogSink } from '../base/log.js';
import { UserError } from '../base/user-error.js';
import { readRights } from '../fuse/index.js';
import { parseMountRequest } from '../mount/options/mount-options.js';
import { StopSignals } from '../mount/process/stop-signals.js';
import { ControllerService } from './controller-service.js';
import { identityCalls } from './identity-service.js';
import { MountByMounter } from './node/mount-by-mounter.js';
import { MountByCommand } from './node/mounting.js';
import { NodeService } from './node/node-service.js';
import type { InlinePolicy } from './volume/inline-volumes.js';
import { checkDefaults } from './volume/volume-capability.js';
import type { ServiceName } from './wire/csi-interface.js';
import { type CsiCalls, serveCsi, socketOf } from './wire/csi-server.js';

export interface CsiDriverOptions {
  /** unix:///path */
  readonly endpoint: string;
  readonly driverName: string;
  /** The name of this node. Undefined: this process offers no Node service. */
  readonly nodeId: string | undefined;
  readonly hasController: boolean;
  /** The socket of the mounter. Undefined: mounts are served by processes that this one starts. */
  readonly mounter: string | undefined;
  /** The inline volumes that pods may have. */
  readonly inline: InlinePolicy;
  /** Texts of -o for all volumes. */
  readonly defaults: readonly string[];
  /** How to start nfs-fuse. */
  readonly program: readonly string[];
  readonly tell: LogSink;
}

/** The defaults are read with this export, to refuse wrong ones at once. */
const ANY_EXPORT = 'localhost:/';

/**
 * Answers until a signal ends it. Mounts go on without it.
 * @throws UserError if it cannot begin
 */
export async function runDriver(options: CsiDriverOptions): Promise<void> {
  const { endpoint, driverName, nodeId, hasController, mounter, inline, defaults, program, tell } = options;
  const stop = new StopSignals(['SIGINT', 'SIGTERM', 'SIGHUP']);
  checkDefaults(defaults);
  parseMountRequest(ANY_EXPORT, defaults);
  const path = socketOf(endpoint);
  const services = new Map<ServiceName, CsiCalls>([['Identity', identityCalls(driverName, hasController)]]);
  if (hasController) services.set('Controller', new ControllerService({ defaults, tell }).calls);
  if (nodeId !== undefined) {
    if (!readRights().mayMount)
      throw new UserError('The Node service has no right to mount.', {
        remedy: 'Give its container privileged: true, or leave --node out for the Controller service alone.',
      });
    const mounting =
      mounter === undefined ? new MountByCommand(program, tell) : new MountByMounter(mounter, tell);
    services.set('Node', new NodeService({ nodeId, defaults, mounting, inline, tell }).calls);
  }
  const end = await serveCsi(path, services, tell);
  try {
    tell('info', `${driverName} listens on ${path} (${[...services.keys()].join(', ')}); ready.`);
    await stop.first;
  } finally {
    await end();
    stop.dispose();
  }
}
