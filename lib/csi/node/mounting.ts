/**
 * How the Node service has mounts made and ended: by processes of its own, or by a mounter (mount-by-mounter.ts). Owns the first
 * of these ways, the commands `nfs-fuse mount` and `nfs-fuse umount`.
 */
import type { LogSink } from '../../base/log.js';
import type { MountEntry } from '../../fuse/index.js';
import { ToldFailure } from '../../mount/failure/told-failure.js';
import type { MountRequest } from '../../mount/options/mount-options.js';
import { OwnCommand } from '../../volume-parts/own-command.js';
import type { PublishTarget } from './publish-target.js';

/** A volume in the words of `nfs-fuse mount`. */
export interface MountWishes {
  /** The export, or a folder of it. */
  readonly mounted: string;
  /** Texts of -o. */
  readonly options: readonly string[];
  /** The same, read. */
  readonly request: MountRequest;
}

export interface Mounting {
  /** Mounts, and resolves when the mount answers. When `signal` is aborted, the attempt ends. @throws UserError */
  make(target: PublishTarget, wishes: MountWishes, signal: AbortSignal): Promise<void>;
  /**
   * Unmounts, and waits until everything is written back, however long that takes. When `signal` is aborted, it may give up the
   * waiting: {@link settled} goes on with it.
   * @throws UserError if it is still mounted, data was lost, or the waiting was given up
   */
  end(target: PublishTarget, entry: MountEntry, signal: AbortSignal): Promise<void>;
  /**
   * Waits for the end of a mount that was here and is not there any more, if anybody knows of one.
   * @throws UserError if data was lost, or the waiting was given up because `signal` was aborted
   */
  settled(target: PublishTarget, signal: AbortSignal): Promise<void>;
}

export class MountByCommand implements Mounting {
  /** `program`: how to start nfs-fuse. */
  constructor(
    private readonly program: readonly string[],
    private readonly tell: LogSink,
  ) {}

  async make({ path }: PublishTarget, wishes: MountWishes, signal: AbortSignal): Promise<void> {
    const options = wishes.options.flatMap((text) => ['-o', text]);
    const command = new OwnCommand(this.program, ['mount', ...options, wishes.mounted, path]);
    const interrupt = (): void => command.interrupt();
    signal.addEventListener('abort', interrupt, { once: true });
    if (signal.aborted) interrupt();
    try {
      const { status, said, failure } = await command.ended;
      if (status !== 0) throw new ToldFailure(failure, said === '' ? SILENT : said);
      if (said !== '') this.tell('warn', `${path}: ${said}`);
    } finally {
      signal.removeEventListener('abort', interrupt);
    }
  }

  async end(target: PublishTarget): Promise<void> {
    const { status, said, failure } = await new OwnCommand(this.program, ['umount', target.path]).ended;
    if (status !== 0) throw new ToldFailure(failure, said === '' ? SILENT : said);
    if (said !== '') this.tell('warn', `${target.path}: ${said}`);
  }

  async settled(): Promise<void> {}
}

const SILENT = 'The process that was to do this ended without a word.';
