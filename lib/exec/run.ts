/**
 * The life of `nfs-fuse exec`: mount, run the command, unmount. Another process serves the mount: a command that lies on the
 * mount is read while this process, which starts it, waits in the kernel.
 */
import { constants } from 'node:os';
import type { LogSink } from '../base/log.js';
import { UserError } from '../base/user-error.js';
import { type ServingCopy, startServingCopy } from '../mount/process/background.js';
import { commandEnvironment, isInOwnNamespace } from '../namespace/namespace.js';
import { dropInheritedCapabilities } from '../namespace/namespace-calls.js';
import { Reaper } from './reaper.js';
import { ExecSignals } from './signals.js';
import { startCommand } from './start-command.js';

/** The exit status if nfs-fuse has failed, and not the command: like env(1), timeout(1) and docker run. */
export const EXEC_FAILED = 125;

export interface ExecOptions {
  /** The arguments of `nfs-fuse` that mount, without the mount point. */
  readonly mountArguments: readonly string[];
  /** The mount point as an absolute path without symbolic links. */
  readonly place: string;
  /** Gets what the serving process prints. */
  readonly logDescriptor: number | undefined;
  /** The mount point as the user wrote it, for messages. */
  readonly mountpoint: string;
  readonly command: readonly [string, ...string[]];
  /** Gets what the mount reports, and what this process has to say. */
  readonly tell: LogSink;
}

/** How the command ended: with an exit status, or by a signal. */
export type ExecOutcome = { readonly status: number } | { readonly signal: NodeJS.Signals };

/**
 * Mounts, runs the command, and unmounts. The exit status is {@link EXEC_FAILED} if the command succeeded and the mount
 * failed. Throws UserError if the mount does not come about or the command cannot be started.
 */
export async function runExec(options: ExecOptions): Promise<ExecOutcome> {
  const { mountArguments, place, logDescriptor, command, tell } = options;
  const signals = new ExecSignals();
  const reaper = process.pid === 1 ? new Reaper() : undefined;
  const copy = startServingCopy({ args: [...mountArguments, place], logDescriptor, role: 'attached', tell });
  reaper?.adopt(copy.pid);
  try {
    await unlessInterrupted(copy.answers, signals);
    if (isInOwnNamespace() && process.geteuid?.() !== 0) {
      const errno = dropInheritedCapabilities();
      if (errno !== 0) throw new UserError(`The command would have capabilities (error ${errno} of capset).`);
    }
    const child = await startCommand(command, place, commandEnvironment(), (started) => {
      reaper?.adopt(started.pid);
      signals.passTo(started);
    });
    const ended = new Promise<ExecOutcome>((resolve) => {
      const done = (status: number | null, signal: NodeJS.Signals | null) =>
        resolve(signal === null ? { status: status ?? EXEC_FAILED } : { signal });
      if (child.exitCode !== null || child.signalCode !== null) done(child.exitCode, child.signalCode);
      else child.once('exit', done);
    });
    const mountEnd = copy.ended.then((end) => ({ end }));
    const first = await Promise.race([ended, mountEnd]);
    if ('end' in first)
      tell('error', `The mount on ${options.mountpoint} has ended before the command (${how(first.end)}).`);
    const outcome = await ended;
    const end = await unmount(copy, signals);
    // The mount may have died first, and the command because of that. A copy that ends without a signal has reported why.
    if (!('end' in first) && end.signal !== null)
      tell('error', `The mount on ${options.mountpoint} has died (${how(end)}).`);
    const succeeded = 'status' in outcome && outcome.status === 0;
    return succeeded && end.status !== 0 ? { status: EXEC_FAILED } : outcome;
  } catch (error) {
    await unmount(copy, signals);
    throw error;
  } finally {
    reaper?.dispose();
    signals.dispose();
  }
}

type End = Awaited<ServingCopy['ended']>;

/** Ends the copy. It has reported its errors itself. */
function unmount(copy: ServingCopy, signals: ExecSignals): Promise<End> {
  signals.afterwards(() => copy.end());
  copy.end();
  return copy.ended;
}

function how({ status, signal }: End): string {
  if (signal !== null) return `killed by ${signal}`;
  return status === 0 ? 'unmounted' : `exit status ${status}`;
}

/** Waits for the mount. Rejects if a signal ends the mounting. */
async function unlessInterrupted(answers: Promise<void>, signals: ExecSignals): Promise<void> {
  const interrupted = signals.interrupted.then((signal): never => {
    throw new UserError(`Mounting was interrupted (${signal}).`, {
      exitStatus: 128 + constants.signals[signal],
    });
  });
  await Promise.race([answers, interrupted]);
}
