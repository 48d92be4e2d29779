/**
 * The mount of one volume: a process of its own, which `nfs-fuse mount` starts and which outlives the plugin. Owns the folders
 * of a mount, so that an engine that goes by the path of a volume finds the mount, or no such path: never a plain folder of
 * this machine.
 */
import { mkdirSync, readlinkSync, renameSync, rmdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode, type LogSink } from '../base/log.js';
import { UserError } from '../base/user-error.js';
import { FILE_SYSTEM_TYPE, type MountEntry, mountAt, readMountinfo, unmountEntry } from '../fuse/index.js';
import { isDeadMount } from '../volume-parts/mount-health.js';
import { type CommandEnd, OwnCommand } from '../volume-parts/own-command.js';
import type { VolumeSettings } from './volume-options.js';

export class VolumeMount {
  /** Where an engine finds the volume while it is mounted. */
  readonly path: string;
  /** Where it is mounted. */
  readonly place: string;
  readonly #folder: string;
  readonly #link: string;
  /** The text of the link. */
  readonly #leadsTo: string;
  /** The link while it is made. No volume has a name that begins with a dot. */
  readonly #nextLink: string;
  #command: OwnCommand | undefined;

  /** `root`: of {@link VolumeRecords}. `program`: how to start nfs-fuse. */
  constructor(
    root: string,
    private readonly name: string,
    private readonly program: readonly string[],
    private readonly tell: LogSink,
  ) {
    this.#folder = join(root, 'mounts', name);
    this.place = join(this.#folder, 'data');
    this.#link = join(root, 'volumes', name);
    this.#leadsTo = join('..', 'mounts', name);
    this.#nextLink = join(root, 'volumes', `.${name}.next`);
    this.path = join(this.#link, 'data');
  }

  /** The mount as `entries` have it, if it is one of nfs-fuse. */
  entryIn(entries: readonly MountEntry[]): MountEntry | undefined {
    const entry = mountAt(entries, this.place);
    return entry?.type === FILE_SYSTEM_TYPE ? entry : undefined;
  }

  async entry(): Promise<MountEntry | undefined> {
    return this.entryIn(await readMountinfo());
  }

  /** Whether engines find the volume. */
  get isPublished(): boolean {
    try {
      return readlinkSync(this.#link) === this.#leadsTo;
    } catch {
      return false;
    }
  }

  /** Lets engines find the mount. Call it only while there is one. */
  publish(): void {
    if (this.isPublished) return;
    rmSync(this.#nextLink, { force: true });
    symlinkSync(this.#leadsTo, this.#nextLink);
    renameSync(this.#nextLink, this.#link);
  }

  /** From now on no engine finds the volume. */
  withdraw(): void {
    rmSync(this.#link, { force: true });
  }

  /** Whether no process serves the mount any more, and none will. */
  isDead(entry: MountEntry): Promise<boolean> {
    return isDeadMount(entry, this.place);
  }

  /** Mounts. Resolves when the mount answers. @throws UserError with what `nfs-fuse mount` says */
  async make({ mounted, options }: VolumeSettings): Promise<void> {
    this.removeFolders();
    mkdirSync(this.place, { recursive: true, mode: 0o700 });
    const { status, said } = await this.#run([
      'mount',
      ...options.flatMap((text) => ['-o', text]),
      mounted,
      this.place,
    ]);
    const isThere = (await this.entry()) !== undefined;
    if (status === 0 && isThere) {
      if (said !== '') this.tell('warn', `Volume ${this.name}: ${said}`);
      return;
    }
    if (!isThere) this.removeFolders();
    if (status === 0)
      throw new UserError(
        `The process that was to mount it says that it did, and nothing is mounted. ${said}`.trim(),
      );
    throw new UserError(said === '' ? 'The process that was to mount it ended without a word.' : said);
  }

  /** Ends an attempt to mount that is under way. */
  interrupt(): void {
    this.#command?.interrupt();
  }

  /**
   * Unmounts, and waits until everything is written back, however long that takes. Resolves with what there is to say,
   * such as data that was lost. @throws UserError if it is still mounted
   */
  async end(): Promise<string> {
    const { said } = await this.#run(['umount', this.place]);
    if ((await this.entry()) !== undefined) throw new UserError(said);
    this.removeFolders();
    return said;
  }

  /** Takes a dead mount away. */
  async takeAway(entry: MountEntry): Promise<void> {
    await unmountEntry(entry, { lazy: true });
    this.removeFolders();
  }

  /**
   * Removes the folders of a mount that is not there.
   * @throws UserError if there are files in them: then they were written while nothing was mounted
   */
  removeFolders(): void {
    for (const folder of [this.place, this.#folder]) {
      try {
        rmdirSync(folder);
      } catch (error) {
        const code = errorCode(error);
        if (code === 'ENOENT') continue;
        throw new UserError(`The folder ${folder} cannot be removed (${code}).`, {
          remedy: code === 'ENOTEMPTY' ? 'Move away what is in it.' : 'See who uses it with "fuser -vm".',
        });
      }
    }
  }

  async #run(args: readonly string[]): Promise<CommandEnd> {
    const command = new OwnCommand(this.program, args);
    this.#command = command;
    try {
      return await command.ended;
    } finally {
      if (this.#command === command) this.#command = undefined;
    }
  }
}
