/**
 * The keeper: a small shell process that holds the connection with the kernel and the state of a mount. If the serving
 * process dies, it starts another one that goes on with both (script.ts). Owns that there is a keeper as long as the mount
 * is kept: one that has ended is replaced.
 */
import type { Writable } from 'node:stream';
import { quoted, ShellProcess, type WatcherOptions } from './shell-process.js';
import { environmentWithoutKeeper, type KeptRole, toldWords } from './take-over.js';

/** Where the keeper and the next process find these, in their own numbers. */
const FUSE = 3;
const STATE = 6;
const OWNER = 9;
/** A keeper that ends more often than this is not replaced any more: something is against it. */
const MAX_REPLACED = 20;
const REPLACED_WITHIN_MS = 60_000;
/** One that could not be started, for want of processes or memory, is tried again after so long. */
const RETRY_MS = 5_000;

/** The rest that each process of a mount gets from the one before. */
export interface LeftToNext {
  readonly role: KeptRole;
  /** A socket that the next process gets as well: see TakeOver. It answers undefined when that is closed. */
  readonly owner?: (() => number | undefined) | undefined;
  /** See Told. */
  readonly score?: number | undefined;
}

export interface KeeperOptions extends WatcherOptions, LeftToNext {
  /** Descriptor of /dev/fuse. Undefined: the connection is over. */
  readonly fuse: () => number | undefined;
  /** Descriptor of the state. */
  readonly state: number;
  /** The words by which the shell finds the mount in mountinfo. Undefined: it is not there (any more). */
  readonly mounted: string | undefined;
  /** Another program has made the mount, and has to unmount it. */
  readonly isInherited: boolean;
  /** The program and the arguments that go on with the mount. */
  readonly command: readonly string[];
  /** See TakeOver. */
  readonly deaths: string;
  /** Called when there is a keeper, also for each one that takes the place of another. */
  onKept?(): void;
}

export class Keeper {
  readonly #where: string;
  readonly #options: KeeperOptions;
  readonly #warn: (line: string) => void;
  #shell: ShellProcess | undefined;
  #isOver = false;
  #isStarting = false;
  #isTryingAgain = false;
  /** The one whose pipe another process has: no other takes its place. */
  #lent: ShellProcess | undefined;
  #isLent = false;
  /** That process goes on with the mount. */
  #isLeft = false;
  readonly #replaced: number[] = [];

  private constructor(where: string, options: KeeperOptions, warn: (line: string) => void) {
    this.#where = where;
    this.#options = options;
    this.#warn = warn;
  }

  /** Starts a keeper of the mount on `where`. If that fails, `warn` gets the reason, and nobody keeps the mount. */
  static async start(where: string, options: KeeperOptions, warn: (line: string) => void): Promise<Keeper> {
    const keeper = new Keeper(where, options, warn);
    await keeper.#start();
    return keeper;
  }

  /** Whether a process will go on with the mount if this one dies. */
  get isThere(): boolean {
    return this.#shell !== undefined && !this.#shell.hasEnded && !this.#isOver;
  }

  /** From now on nobody goes on with the mount if this process dies: its end has begun, or another process has it. */
  release(): void {
    this.#isOver = true;
    this.#shell?.tell('release');
  }

  /**
   * The pipe of the keeper, for a process that is to go on with the mount: whichever of the two dies, the keeper starts another one
   * only when neither is there. Undefined: there is no keeper now.
   */
  lend(): Writable | undefined {
    this.#isLent = true;
    this.#lent = this.isThere ? this.#shell : undefined;
    return this.#lent?.pipe;
  }

  /** The process that has the pipe goes on from now on, and not this one. */
  leaveTo(pid: number): void {
    this.#isLeft = true;
    this.#shell?.tell(`pid ${pid}`);
    // It would take the death of this process for the end of all that serve the mount.
    if (this.#shell !== this.#lent) void this.#shell?.dismiss();
  }

  /** The process that has the pipe is being ended. */
  takeBack(): void {
    if (this.#isLeft) {
      // This one does not serve either: the keeper has the next word.
      this.#shell?.tell(`pid ${process.pid}`);
      return;
    }
    this.#isLent = false;
    if (!this.isThere) void this.#replace();
  }

  /** Resolves when the keeper has ended, in good order. */
  async dismiss(): Promise<void> {
    this.#isOver = true;
    await this.#shell?.dismiss();
  }

  /** Never two at a time: each would start a process when this one ends. */
  async #start(): Promise<void> {
    if (this.isThere || this.#isStarting) return;
    this.#isStarting = true;
    let shell: ShellProcess | undefined;
    try {
      shell = await this.#startShell();
    } finally {
      this.#isStarting = false;
    }
    shell?.onEnd(() => void this.#replace());
  }

  /** Undefined: there is none, or none is needed any more. */
  async #startShell(): Promise<ShellProcess | undefined> {
    const { fuse, state, mounted, isInherited, command, role, score, deaths, ...options } = this.#options;
    // Asked for in the turn in which the shell is started. With the number of a closed descriptor, the shell would get
    // any file, such as the pipe on which this process waits for the start of the shell.
    const device = fuse();
    const owner = options.owner?.();
    if (device === undefined) return undefined;
    const descriptors = new Map([
      [FUSE, device],
      [STATE, state],
    ]);
    if (owner !== undefined) descriptors.set(OWNER, owner);
    const shell = await ShellProcess.start(
      this.#where,
      options,
      {
        name: 'nfs-fuse-keeper',
        descriptors,
        inherits: environmentWithoutKeeper(),
        environment: {
          NFS_FUSE_KEEPS: 'yes',
          NFS_FUSE_MOUNTED: mounted ?? '',
          NFS_FUSE_INHERITED: isInherited ? 'yes' : '',
          NFS_FUSE_START: command.map(quoted).join(' '),
          NFS_FUSE_TOLD: toldWords({ role, owner: owner === undefined ? undefined : OWNER, score }),
          NFS_FUSE_LOUD: role === 'foreground' ? 'yes' : '',
          NFS_FUSE_DEATHS: deaths,
          NFS_FUSE_VAIN: '0',
          NFS_FUSE_SCORE: '',
          NFS_FUSE_LOWER: String(score ?? ''),
        },
      },
      (why, mayPass) => this.#hasFailed(why, mayPass),
    );
    this.#shell = shell;
    if (shell === undefined) return undefined;
    if (this.#isOver || this.#isLeft) {
      await shell.dismiss();
      return undefined;
    }
    this.#isTryingAgain = false;
    options.onKept?.();
    return shell;
  }

  #hasFailed(why: string, mayPass: boolean): void {
    if (!this.#isTryingAgain)
      this.#warn(`${why}: if this process dies, nothing goes on with ${this.#where}.`);
    if (!mayPass) return;
    this.#isTryingAgain = true;
    setTimeout(() => {
      if (!this.#isOver && !this.#isLent) void this.#start();
    }, RETRY_MS).unref();
  }

  async #replace(): Promise<void> {
    if (this.#isOver || this.#isLent) return;
    const now = performance.now();
    this.#replaced.push(now);
    if (this.#replaced.length > MAX_REPLACED) {
      const [oldest = 0] = this.#replaced.splice(0, 1);
      if (now - oldest < REPLACED_WITHIN_MS) {
        this.#warn(`The keeper of ${this.#where} ends again and again: nothing keeps this mount any more.`);
        return;
      }
    }
    await this.#start();
  }
}
