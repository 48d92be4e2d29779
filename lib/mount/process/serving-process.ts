/**
 * A process that serves one mount: signals and crashes of the process end the mount, and the end of the mount gives the
 * exit status. The same in the foreground and in the background.
 */
import { UserError } from '../../base/user-error.js';
import type { MountRequest } from '../options/mount-options.js';
import type { RunningMount } from '../serve/running-mount.js';
import type { MountSettings } from '../serve/settings.js';
import { startMount } from '../serve/start.js';
import { CrashGuard } from './crash.js';
import { collectGarbage } from './engine.js';
import type { StopSignals } from './stop-signals.js';

export interface ServingProcessOptions extends Omit<MountSettings, 'signal' | 'hints' | 'collectGarbage'> {
  /** The first signal ends the mount in good order, the second one ends it at once. */
  readonly stop: StopSignals;
  /** Called when the mount answers. */
  mounted(mount: RunningMount): void;
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
  // A mount with which this process goes on may have data that is not on the server yet: it is taken up, and ends in good order.
  const interrupting = settings.takeOver === undefined ? stop.first : stop.second;
  void interrupting.then((signal) =>
    interruption.abort(new UserError(`Mounting was interrupted (${signal}).`, { exitStatus: 130 })),
  );
  let mount: RunningMount | undefined;
  // The kernel may send requests before the mount counts as started.
  const crash = new CrashGuard(
    () => mount?.log ?? settings.log,
    () => (mount === undefined ? 'while mounting' : JSON.stringify(mount.requestCounters())),
    () => mount?.isKept === true,
  );
  void crash.fatal.then((cause) => {
    const error = new Error(`Internal error: ${cause.message}`, { cause });
    interruption.abort(error);
    if (mount?.isKept === true) mount.leaveToKeeper(error);
    else void mount?.fail(error);
  });
  try {
    mount = await startMount(request, mountpoint, {
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
    const running = mount;
    mounted(running);
    void stop.first.then(() => running.unmount());
    void stop.second.then((signal) => running.endAtOnce(`second ${signal}`));
    return (await running.ended).status;
  } finally {
    crash.dispose();
  }
}
