/**
 * Keeping a mount beyond the life of its process: its state, the facts that the state begins with, and the keeper beside it.
 * Owns the order: the facts are written before the kernel hears of them, and the keeper comes when the mount answers.
 */
import type { Writable } from 'node:stream';
import type { Logger } from '../../base/log.js';
import type { ConnectionInfo } from '../../fuse/index.js';
import { RecordMemory } from '../../records/index.js';
import type { HandoverOptions } from '../../vfs/handover/handover.js';
import { type MountFacts, NO_TAKEOVERS, type Takeovers, writeEnd, writeFacts } from '../keep/facts.js';
import { Keeper, type LeftToNext } from '../keep/keeper.js';
import type { WatcherOptions } from '../keep/shell-process.js';
import { secondsSinceStart } from '../keep/take-over.js';
import { wordsFor } from '../keep/watcher.js';
import type { ResumedMount, ServedMount } from './kernel-transport.js';

/** The part of a mount's keeping that its front end decides. */
export interface KeepSettings extends LeftToNext {
  /** The program that goes on with the mount, and what it needs before its arguments. */
  readonly program: readonly string[];
  readonly arguments: readonly string[];
  /** An empty state in a file of the user's own. Undefined: in memory. */
  readonly memory?: RecordMemory | undefined;
}

/** The words between a process that goes on with a mount and those who have started it. */
export interface TakeOverWords {
  /** Called when the server does not answer yet. */
  waiting(): void;
  /** Resolves when nobody else works with the state any more. Undefined: the process before has died. */
  mayGoOn(): Promise<Handed | undefined>;
  /** Called when the mount answers. */
  served(): void;
  /** Called when it has a keeper of this process, or needs none any more: the one from before is dismissed. */
  kept(): void;
  /** Called when nobody is to go on with the mount any more. */
  released(): void;
}

/** The mount with which this process goes on. */
export interface TakeOverSettings extends TakeOverWords {
  /** /dev/fuse, past INIT. */
  readonly fd: number;
  readonly memory: RecordMemory;
  readonly facts: MountFacts;
  /** Whether the process before has died, or hands its mount over. */
  readonly kind: 'death' | 'restart';
  /** That process. */
  readonly previous: number;
  /** When it ended, in seconds since the machine was started; of a process that hands over: not yet. */
  readonly since: number;
  /** When processes of this mount have died lately, for the keeper. */
  readonly deaths: string;
}

/** The rest that a process leaves to the one that goes on. */
export interface Handed {
  /** When it stopped to serve, in seconds since the machine was started. */
  readonly since: number;
  /** Requests that it had read and not answered, where the kernel does not repeat them. */
  readonly requests: readonly Uint8Array[];
}

export class Keeping {
  readonly #settings: KeepSettings;
  readonly #takeOver: TakeOverSettings | undefined;
  #memory: RecordMemory;
  readonly #log: Logger;
  readonly #source: string;
  readonly #lockNotes: string;
  /** From the process before. */
  handed: Handed | undefined;
  /** Requests that were read before this process could serve, and do not come again. */
  readBefore: readonly Uint8Array[] = [];
  #keeper: Keeper | undefined;
  #facts: MountFacts | undefined;

  private constructor(parts: {
    readonly settings: KeepSettings;
    readonly takeOver: TakeOverSettings | undefined;
    readonly memory: RecordMemory;
    readonly log: Logger;
    readonly source: string;
    readonly lockNotes: string;
  }) {
    this.#settings = parts.settings;
    this.#takeOver = parts.takeOver;
    this.#memory = parts.memory;
    this.#log = parts.log;
    this.#source = parts.source;
    this.#lockNotes = parts.lockNotes;
    this.#facts = parts.takeOver?.facts;
    this.#watchMemory();
  }

  #watchMemory(): void {
    this.#memory.onIncomplete = () => {
      this.#log.warn(
        'There is no memory left for the state of this mount: if its process dies, the mount ends.',
      );
      this.release();
    };
  }

  /** `lockNotes`: the name of the file with the notes of locks. Undefined: there is no memory; `log` says so. */
  static of(
    settings: KeepSettings,
    takeOver: TakeOverSettings | undefined,
    source: string,
    lockNotes: string,
    log: Logger,
  ): Keeping | undefined {
    const memory = takeOver?.memory ?? settings.memory ?? RecordMemory.create();
    if (memory !== undefined) return new Keeping({ settings, takeOver, memory, log, source, lockNotes });
    log.warn('This machine gives no memory for the state of a mount: if its process dies, the mount ends.');
    return undefined;
  }

  /**
   * The state for one attempt to connect. An attempt that went on with the state and failed has left it frozen: the next one reads it
   * anew, as the process after a death does. @throws RecordsError
   */
  handover(): HandoverOptions {
    if (this.#memory.isFrozen) {
      this.#memory = RecordMemory.adopt(this.#memory.fd);
      this.#watchMemory();
    }
    return { memory: this.#memory, isTakeover: this.#takeOver !== undefined };
  }

  /** The mount with which this process goes on. */
  get resumed(): ResumedMount | undefined {
    const takeOver = this.#takeOver;
    if (takeOver === undefined) return undefined;
    const { connection, madeBy } = takeOver.facts;
    const handed = this.handed?.requests;
    const requests = this.readBefore.length === 0 ? handed : [...this.readBefore, ...(handed ?? [])];
    return { fd: takeOver.fd, madeBy, connection, requests };
  }

  /** Where requests are noted that are under way, for kernels that cannot repeat them. */
  get underWay(): Float64Array {
    return this.#memory.cells;
  }

  /** The state, for the process to which the mount is handed over. */
  get descriptor(): number {
    return this.#memory.fd;
  }

  /** The command line that goes on with the mount. */
  get command(): readonly string[] {
    return [...this.#settings.program, ...this.#settings.arguments];
  }

  get settings(): KeepSettings {
    return this.#settings;
  }

  /** Writes down what is being agreed with the kernel. */
  agreed(connection: ConnectionInfo, { mountpoint, minor, device }: ServedMount['mount']): void {
    if (device === undefined) return;
    const made = { mountpoint, source: this.#source, madeBy: device.madeBy, pid: process.pid, minor };
    this.#write({ connection, ...made, lockNotes: this.#lockNotes, takeovers: NO_TAKEOVERS });
  }

  /** The mount answers: it gets its keeper. `filesLost`: files whose unwritten data died with the process before. */
  async begin(mount: ServedMount['mount'], options: WatcherOptions, filesLost: number): Promise<void> {
    const takeOver = this.#takeOver;
    if (this.#memory.complete) await this.#startKeeper(mount, options);
    if (takeOver !== undefined) this.#tellOf(takeOver, mount.mountpoint, filesLost);
    takeOver?.served();
  }

  async #startKeeper(mount: ServedMount['mount'], options: WatcherOptions): Promise<void> {
    const { device } = mount;
    if (device === undefined) return;
    const takeOver = this.#takeOver;
    const mounted = device.madeBy === 'inherited' ? undefined : await wordsFor(mount);
    const { role, owner, score } = this.#settings;
    const deaths = takeOver?.deaths ?? '';
    this.#keeper = await Keeper.start(
      mount.mountpoint,
      {
        ...options,
        fuse: () => device.fd,
        state: this.#memory.fd,
        mounted,
        command: this.command,
        role,
        owner,
        score,
        deaths,
        isInherited: device.madeBy === 'inherited',
        onKept: () => takeOver?.kept(),
      },
      (line) => this.#log.warn(line),
    );
  }

  /** How often the mount was taken over, and whether it is kept now. */
  get takeovers(): Takeovers & { readonly kept: boolean } {
    return { kept: this.#keeper?.isThere === true, ...(this.#facts?.takeovers ?? NO_TAKEOVERS) };
  }

  /** The end of the mount has begun: nobody goes on with it any more. */
  release(): void {
    this.#keeper?.release();
    this.#takeOver?.released();
  }

  /** See {@link Keeper.lend}. */
  lendKeeper(): Writable | undefined {
    return this.#keeper?.lend();
  }

  /** The state and the mount are that process's from now on. */
  leaveTo(pid: number): void {
    this.#memory.freeze();
    this.#keeper?.leaveTo(pid);
    // One from before has not heard of that process.
    this.#takeOver?.kept();
  }

  /** The process to which the mount was to be handed over is being ended. */
  takeBack(): void {
    this.#keeper?.takeBack();
  }

  /** The mount has ended in good order. */
  async end(): Promise<void> {
    writeEnd(this.#memory);
    await this.dismiss();
  }

  async dismiss(): Promise<void> {
    await this.#keeper?.dismiss();
    this.#takeOver?.kept();
  }

  #write(facts: MountFacts): void {
    this.#facts = facts;
    writeFacts(this.#memory, facts);
  }

  #tellOf({ kind, previous, since, facts }: TakeOverSettings, mountpoint: string, files: number): void {
    const milliseconds = Math.round((secondsSinceStart() - (this.handed?.since ?? since)) * 1000);
    const { deaths, restarts } = facts.takeovers;
    const last = { kind, at: new Date().toISOString(), milliseconds, pid: previous, files };
    const count = kind === 'death' ? { deaths: deaths + 1, restarts } : { deaths, restarts: restarts + 1 };
    this.#write({ ...facts, pid: process.pid, lockNotes: this.#lockNotes, takeovers: { ...count, last } });
    const lost = files === 0 ? '' : ` Data of ${files === 1 ? '1 file' : `${files} files`} died with it.`;
    if (kind === 'death')
      this.#log.warn(
        `The process ${previous} that served ${mountpoint} died; process ${process.pid} has taken the mount over ` +
          `after ${milliseconds} ms.${lost}`,
      );
    else
      this.#log.info(
        `The process ${previous} has handed ${mountpoint} over to process ${process.pid}, within ${milliseconds} ms.`,
      );
  }
}
