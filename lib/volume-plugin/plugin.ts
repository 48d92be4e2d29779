/** The plugin as a whole: its folder, its socket, its volumes, and their order at the start. */
import { errorCode } from '../base/log.js';
import { StopSignals } from '../mount/process/stop-signals.js';
import { pluginServer, type Scope } from './plugin-protocol.js';
import { listenAsPlugin } from './plugin-socket.js';
import { readVolumeOptions } from './volume-options.js';
import { VolumeRecords } from './volume-records.js';
import { Volumes, type VolumesOptions } from './volumes.js';

export interface PluginOptions extends Omit<VolumesOptions, 'records'> {
  /** The folder of options and mounts. */
  readonly root: string;
  /** Where to listen, if systemd hands no socket over. */
  readonly socket: string;
  readonly scope: Scope;
  /** How long the engine waits for an answer, in milliseconds. */
  readonly engineMs: number;
}

/** The defaults are read with this export, to refuse wrong ones at once. */
const ANY_EXPORT = 'localhost:/';

/**
 * Answers until a signal ends it. The mounts go on without it, and the next plugin adopts them.
 * @throws UserError if it cannot begin
 */
export async function runPlugin({ root, socket, scope, engineMs, ...options }: PluginOptions): Promise<void> {
  const stop = new StopSignals(['SIGINT', 'SIGTERM', 'SIGHUP']);
  readVolumeOptions({ device: ANY_EXPORT }, options.defaults);
  const records = VolumeRecords.open(root);
  const volumes = new Volumes({ records, ...options });
  const server = pluginServer(volumes, scope, engineMs);
  try {
    // Neither waits for a server: what has to be mounted again is mounted when the plugin answers already.
    await volumes.adopt();
    const remove = await listenAsPlugin(server, socket);
    // A connection that cannot be accepted, such as for want of descriptors: the next one may be.
    server.on('error', (error) => options.tell('error', `A connection is lost (${errorCode(error)}).`));
    try {
      volumes.watch();
      options.tell('info', `Volumes are in ${records.root}; ready.`);
      await stop.first;
    } finally {
      volumes.stop();
      remove();
    }
  } finally {
    server.close();
    server.closeAllConnections();
    records.close();
    stop.dispose();
  }
}
