/**
 * The volumes that exist, on the disk: their names and options, and nothing about mounts, of which the mount table alone
 * knows. Owns the plugin's folder: its layout, its lock, and that the file in it is written in one step.
 *
 *   volumes.json   the volumes
 *   lock           held by the plugin that runs
 *   mounts/NAME/data     the mount point, while there is a mount
 *   volumes/NAME   a link to mounts/NAME, while the mount is well: engines go this way, and find nothing otherwise
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { isRecord, parsedJson } from '../base/json.js';
import { errorCode } from '../base/log.js';
import { UserError } from '../base/user-error.js';
import { lockFile } from '../mount/process/process-calls.js';

/** The options of a volume, as its user gave them. */
export type GivenOptions = Readonly<Record<string, string>>;

interface Content {
  readonly version: 1;
  /** The volumes that were mounted before a restart of the machine are not mounted any more, and nobody waits for them. */
  readonly bootId: string;
  readonly volumes: Readonly<Record<string, { readonly options: GivenOptions }>>;
}

export class VolumeRecords {
  readonly #volumes = new Map<string, GivenOptions>();
  #bootId: string;

  private constructor(
    /** Absolute, without symbolic links. */
    readonly root: string,
    private readonly lock: number,
  ) {
    this.#bootId = '';
  }

  /**
   * Opens the folder, which is made if it does not exist, for this process alone.
   * @throws UserError if it is not ours, another plugin has it, or the file in it is damaged
   */
  static open(path: string): VolumeRecords {
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw cannot(`The folder ${path} cannot be made (${errorCode(error)}).`, error);
    }
    const root = realpathSync(path);
    const lock = openOwn(root);
    const records = new VolumeRecords(root, lock);
    try {
      for (const name of ['mounts', 'volumes']) mkdirSync(join(root, name), { recursive: true, mode: 0o700 });
      records.#read();
    } catch (error) {
      closeSync(lock);
      throw error instanceof UserError
        ? error
        : cannot(`${root} cannot be used (${errorCode(error)}).`, error);
    }
    return records;
  }

  /** The volumes, by their names. */
  get volumes(): ReadonlyMap<string, GivenOptions> {
    return this.#volumes;
  }

  /** Whether the machine has been restarted since the file was written; false as soon as {@link adoptBoot} was called. */
  get isOfEarlierBoot(): boolean {
    return this.#bootId !== bootId();
  }

  adoptBoot(): void {
    this.#bootId = bootId();
    this.#write(this.#volumes);
  }

  /** @throws UserError if it cannot be written: the volume is not there then */
  add(name: string, options: GivenOptions): void {
    this.#write(new Map([...this.#volumes, [name, options]]));
    this.#volumes.set(name, options);
  }

  /** @throws UserError if it cannot be written: the volume is still there then */
  remove(name: string): void {
    this.#write(new Map([...this.#volumes].filter(([other]) => other !== name)));
    this.#volumes.delete(name);
  }

  close(): void {
    closeSync(this.lock);
  }

  get #file(): string {
    return join(this.root, 'volumes.json');
  }

  #read(): void {
    let text: string;
    try {
      text = readFileSync(this.#file, 'utf8');
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return;
      throw error;
    }
    const content = contentOf(text);
    if (content === undefined)
      throw new UserError(`${this.#file} is damaged.`, {
        remedy: 'Mend it, or move it away and create the volumes again: no data is lost by that.',
      });
    this.#bootId = content.bootId;
    for (const [name, { options }] of Object.entries(content.volumes)) this.#volumes.set(name, options);
  }

  #write(volumes: ReadonlyMap<string, GivenOptions>): void {
    const entries = [...volumes].map(([name, options]) => [name, { options }] as const);
    const content: Content = { version: 1, bootId: this.#bootId, volumes: Object.fromEntries(entries) };
    const next = `${this.#file}.next`;
    try {
      // Options may hold what others need not know.
      const fd = openSync(next, 'w', 0o600);
      try {
        writeFileSync(fd, `${JSON.stringify(content, null, 2)}\n`);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(next, this.#file);
      // Otherwise the name may lead to the old file after a power failure.
      syncFolder(this.root);
    } catch (error) {
      throw cannot(`${this.#file} cannot be written (${errorCode(error)}).`, error);
    }
  }
}

function syncFolder(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Opens the lock of a folder that nobody else can change, and takes it. */
function openOwn(root: string): number {
  const folder = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const { uid, mode } = fstatSync(folder);
    if (uid !== process.geteuid?.() || (mode & 0o022) !== 0)
      throw new UserError(`Others may change the folder ${root}.`, {
        remedy: 'Make it yours alone (chown, chmod 700), or name another one with --root.',
      });
  } finally {
    closeSync(folder);
  }
  let lock: number;
  try {
    lock = openSync(join(root, 'lock'), constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    throw cannot(`${root} cannot be used (${errorCode(error)}).`, error);
  }
  if (lockFile(lock)) return lock;
  closeSync(lock);
  throw new UserError(`Another plugin has the folder ${root}.`, {
    remedy: 'End that one first, or name another folder with --root and another socket with --socket.',
  });
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

function contentOf(text: string): Content | undefined {
  const content = parsedJson(text);
  if (!isRecord(content) || content.version !== 1 || typeof content.bootId !== 'string') return undefined;
  if (!isRecord(content.volumes)) return undefined;
  const isWell = Object.values(content.volumes).every(
    (volume) => isRecord(volume) && isOptions(volume.options),
  );
  return isWell ? (content as unknown as Content) : undefined;
}

/** Whether a value from outside has the form of options. */
export function isOptions(value: unknown): value is GivenOptions {
  return isRecord(value) && Object.values(value).every((one) => typeof one === 'string');
}

function cannot(message: string, cause: unknown): UserError {
  return new UserError(message, { remedy: 'Name a folder of your own with --root.', cause });
}
