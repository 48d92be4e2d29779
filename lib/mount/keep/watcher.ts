/**
 * The watcher: a small shell process that waits until the serving process has ended. If that died without saying
 * good-bye, the watcher takes the dead mount away and reports it (script.ts). Where the mount is kept, a keeper
 * (keeper.ts) takes its place as soon as the mount answers.
 *
 * The watcher is also the first to look at the mount. A process that asks its own mount, and is killed before it has
 * answered itself, waits in the kernel for ever.
 */
import { mountAt, readMountinfo } from '../../fuse/index.js';
import { ShellProcess, type WatcherOptions } from './shell-process.js';

/** The part of a mount by which the shell finds it in mountinfo. */
export interface WatchedMount {
  readonly mountpoint: string;
  readonly major: number;
  readonly minor: number | undefined;
}

export class Watcher {
  readonly #shell: ShellProcess;

  private constructor(shell: ShellProcess) {
    this.#shell = shell;
  }

  /**
   * Starts a watcher of the mount on `where`. Call it before /dev/fuse is opened: a copy of that descriptor in the
   * watcher would keep the connection alive. Undefined: there is no shell, so nothing watches; `warn` gets the reason.
   */
  static async start(
    where: string,
    options: WatcherOptions,
    warn: (line: string) => void,
  ): Promise<Watcher | undefined> {
    const shell = await ShellProcess.start(where, options, { name: 'nfs-fuse-watcher' }, (why) =>
      warn(`${why}: if this process is killed, its mount stays, dead, until it is unmounted.`),
    );
    return shell && new Watcher(shell);
  }

  /**
   * Tells the watcher that there is a mount to take away. Resolves when the watcher has looked at it: true if it is a
   * directory that answers. False as well if the mount or the watcher is gone already.
   */
  async mounted(mount: WatchedMount): Promise<boolean> {
    const words = await wordsFor(mount);
    if (words === undefined) return false;
    this.#shell.tell(`mounted ${words}`);
    return (await this.#shell.answer) === 'yes';
  }

  /** Tells the watcher that the mount ends in good order. Resolves when the watcher has ended. */
  dismiss(): Promise<void> {
    return this.#shell.dismiss();
  }
}

/** How the shell finds this mount in mountinfo: its id and its device. Undefined: it is not there. */
export async function wordsFor({ mountpoint, major, minor }: WatchedMount): Promise<string | undefined> {
  const entry = mountAt(await readMountinfo(), mountpoint);
  if (entry?.major !== major || entry.minor !== minor) return undefined;
  return `${entry.id} ${major}:${minor}`;
}
