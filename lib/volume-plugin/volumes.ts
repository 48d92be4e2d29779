/** All volumes of a plugin, by their names: made, found, removed, and watched over. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { LogSink } from '../base/log.js';
import { UserError } from '../base/user-error.js';
import { readMountinfo } from '../fuse/index.js';
import { textOf } from '../volume-parts/error-text.js';
import { Volume } from './volume.js';
import { VolumeMount } from './volume-mount.js';
import { readVolumeOptions } from './volume-options.js';
import type { GivenOptions, VolumeRecords } from './volume-records.js';

/** The mount table is looked at this often: it costs less than a millisecond. */
const LOOK_MS = 200;
/** The rule of docker and podman. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,199}$/;

export interface VolumesOptions {
  readonly records: VolumeRecords;
  /** Texts of -o for all volumes. */
  readonly defaults: readonly string[];
  /** How to start nfs-fuse. */
  readonly program: readonly string[];
  readonly tell: LogSink;
}

export class Volumes {
  readonly #volumes = new Map<string, Volume>();
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;

  constructor(private readonly options: VolumesOptions) {}

  /** Adopts the mounts that are there. A volume that cannot be adopted keeps no other one from it. */
  async adopt(): Promise<void> {
    const { records, tell } = this.options;
    const entries = await readMountinfo();
    const { isOfEarlierBoot } = records;
    for (const [name, given] of records.volumes) {
      try {
        const volume = this.#make(name, given);
        this.#volumes.set(name, volume);
        volume.adopt(volume.mount.entryIn(entries), volume.mount.isPublished && !isOfEarlierBoot);
      } catch (error) {
        tell('error', `Volume ${name}: ${textOf(error)}`);
      }
    }
    if (isOfEarlierBoot) records.adoptBoot();
    for (const name of readdirSync(join(records.root, 'mounts'))) {
      if (this.#volumes.has(name) || records.volumes.has(name)) continue;
      if (this.#placeOf(name).entryIn(entries) !== undefined)
        tell(
          'warn',
          `${join(records.root, 'mounts', name)} has the mount of a volume that is not known here.`,
        );
    }
    this.#withdrawOthers();
  }

  /** A mount that no volume here looks after must not be found: nobody would notice that its mount has gone. */
  #withdrawOthers(): void {
    for (const name of readdirSync(join(this.options.records.root, 'volumes'))) {
      if (this.#volumes.has(name)) continue;
      try {
        this.#placeOf(name).withdraw();
      } catch (error) {
        this.options.tell('error', `Volume ${name} cannot be withdrawn: ${textOf(error)}`);
      }
    }
  }

  /** Begins to look after the mounts. */
  watch(): void {
    this.#timer = setInterval(() => void this.#look(), LOOK_MS);
  }

  /** Ends the watching. The mounts go on. */
  stop(): void {
    clearInterval(this.#timer);
  }

  /** @throws UserError if there is none of this name */
  get(name: string): Volume {
    const volume = this.#volumes.get(name);
    if (volume !== undefined) return volume;
    throw new UserError(`There is no volume ${JSON.stringify(name)}.`);
  }

  list(): Volume[] {
    return [...this.#volumes.values()];
  }

  /**
   * Makes a volume, and does not mount it. Succeeds as well if there is one of the same name and options.
   * @throws UserError for names and options that will not do, and where a mount is that no volume here has made
   */
  async create(name: string, given: GivenOptions): Promise<void> {
    if (!NAME.test(name))
      throw new UserError(`${JSON.stringify(name.slice(0, 300))} is not the name of a volume.`, {
        remedy:
          'Letters, digits, "_", "." and "-" will do, 200 of them at most; the first is a letter or a digit.',
      });
    if (this.#isThere(name, given)) return;
    const volume = this.#make(name, given);
    await mustBeFree(volume);
    // The same may have been asked for meanwhile.
    if (this.#isThere(name, given)) return;
    for (const note of volume.settings.request.notes) this.options.tell('warn', `Volume ${name}: ${note}`);
    this.options.records.add(name, given);
    this.#volumes.set(name, volume);
  }

  /** Whether there is this volume already. @throws UserError if there is one of the same name and other options */
  #isThere(name: string, given: GivenOptions): boolean {
    const known = this.options.records.volumes.get(name);
    if (known === undefined || !this.#volumes.has(name)) return false;
    if (Object.keys(given).length === 0 || isSame(known, given)) return true;
    throw new UserError(`There is a volume ${name} with other options.`, {
      remedy: 'Remove it first, or take another name.',
    });
  }

  /** Unmounts a volume and forgets it; its data stays on the server. @throws UserError if that is not possible now */
  async remove(name: string): Promise<void> {
    const volume = this.get(name);
    await volume.dispose(() => {
      this.options.records.remove(name);
      this.#volumes.delete(name);
    });
  }

  #make(name: string, given: GivenOptions): Volume {
    const settings = readVolumeOptions(given, this.options.defaults);
    return new Volume(name, settings, this.#placeOf(name), this.options.tell);
  }

  #placeOf(name: string): VolumeMount {
    const { records, program, tell } = this.options;
    return new VolumeMount(records.root, name, program, tell);
  }

  async #look(): Promise<void> {
    if (this.#isLooking || this.#volumes.size === 0) return;
    this.#isLooking = true;
    try {
      const now = performance.now();
      const entries = await readMountinfo();
      for (const volume of this.#volumes.values()) volume.watch(entries, now);
    } catch (error) {
      this.options.tell('warn', `The mount table cannot be read: ${textOf(error)}`);
    } finally {
      this.#isLooking = false;
    }
  }
}

/**
 * A mount that is left of a volume of that name may have other options, such as rw, or another user.
 * @throws UserError if there is one
 */
async function mustBeFree({ name, mount }: Volume): Promise<void> {
  if ((await mount.entry()) === undefined) return;
  throw new UserError(
    `The mount of an earlier volume ${name} is still there, and nobody knows its options.`,
    {
      remedy: `End it with "nfs-fuse umount ${mount.place}", or take another name.`,
    },
  );
}

function isSame(one: GivenOptions, other: GivenOptions): boolean {
  const text = (options: GivenOptions) => JSON.stringify(Object.entries(options).sort());
  return text(one) === text(other);
}
