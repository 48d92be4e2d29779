/**
 * A process that serves one mount: signals and crashes of the process end the mount, and the end of the mount gives the
 * exit status. The same in the foreground and in the background.
 */
import { UserError } from '../../base/user-error.js';
import type { MountRequest } from '../options/mount-options.js';
import type { MountSettings } from '../serve/settings.js';
import { startMount } from '../serve/start.js';
import { CrashGuard } from './crash.js';
import { collectGarbage } from './engine.js';
import type { StopSignals } from './stop-signals.js';

export interface ServingProcessOptions extends Omit<MountSettings, 'signal' | 'hints' | 'collectGarbage'> {
  /** The first signal ends the mount in good order, the second one ends it at once. */
  readonly stop: StopSignals;
  /** Called when the mount answers. */
  mounted(mountpoint: string): void;
}

/**
 * Mounts, and serves the mount until it ends. Resolves with the exit status: 0 if everything that was written is on the
 * server. Throws UserError if the mount does not come about.
 */
export async function serveMount(
  request: MountRequest,
  mountpoint: string,
  { stop, mounted, ...settings }: ServingProcessOptions,
): Promise<number> {
  const interruption = new AbortController();
  void stop.first.then((signal) =>
    interruption.abort(new UserError(`Mounting was interrupted (${signal}).`, { exitStatus: 130 })),
  );
  const mount = await startMount(request, mountpoint, {
    ...settings,
    signal: interruption.signal,
    collectGarbage,
    hints: {
      endAtOnce: 'a second signal ends it at once',
      waiting: () =>
        `${stop.requested ? 'Another SIGTERM ends it' : 'SIGTERM, sent twice, ends it'} and loses what is left.`,
      withoutSocket: 'SIGTERM writes back and unmounts.',
    },
  });
  const crash = new CrashGuard(mount.log, () => JSON.stringify(mount.requestCounters()));
  mounted(mount.mountpoint);
  void stop.first.then(() => mount.unmount());
  void stop.second.then((signal) => mount.endAtOnce(`second ${signal}`));
  void crash.fatal.then((error) =>
    mount.fail(new Error(`Internal error: ${error.message}`, { cause: error })),
  );
  const { status } = await mount.ended;
  crash.dispose();
  return status;
}
