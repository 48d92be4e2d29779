/**
 * One volume: its users, its mount, and the way between the two. Owns that its calls wait for each other and for those of no
 * other volume, and that each is answered in time, also where the server is dead.
 */
import type { LogSink } from '../base/log.js';
import { UserError } from '../base/user-error.js';
import type { MountEntry } from '../fuse/index.js';
import { otherPlacesOf } from '../mount/reach/other-places.js';
import { exportsForExplanation } from '../mount/server/server-exports.js';
import { textOf } from '../volume-parts/error-text.js';
import { makeSubFolder } from './sub-folder.js';
import type { VolumeMount } from './volume-mount.js';
import type { VolumeSettings } from './volume-options.js';

/** podman gives up after 5 s, if it is not told otherwise. */
const PATIENCE_MS = 3_700;
/** Before an engine is told that a mount comes too late, its server has so long to show that it lives. */
const SIGN_OF_LIFE_MS = 2_200;
/** A mount that came too late for the container that asked for it stays so long for the next one. */
const UNUSED_MS = 60_000;
/** A mount that died is made again at once, and after a failure every so often. */
const RETRY_MS = [0, 1_000, 2_000, 5_000, 10_000, 30_000];
/** The process of a mount is looked for this often; whether there is a mount, at each look of {@link Volume.watch}. */
const CHECK_MS = 2_000;

/** How long an engine waits for a mount, in milliseconds. */
export interface EnginePatience {
  /** If the server does not answer. */
  readonly ms: number;
  /** If it answers, and only the mount takes its time. */
  readonly slowMs: number;
}

/** As `volume inspect` shows it. */
export interface VolumeStatus {
  readonly target: string;
  readonly options: string;
  readonly state: 'mounted' | 'not mounted' | 'being mounted' | 'being unmounted';
  /** The last failure, if the state is a consequence of it. */
  readonly failure?: string;
}

export class Volume {
  readonly #users = new Set<string>();
  /** It was mounted before this process began: nobody knows for how many. */
  #usersUnknown = false;
  #making: Promise<void> | undefined;
  #ending: Promise<void> | undefined;
  #failure: string | undefined;
  #failures = 0;
  #retryAt = 0;
  #checkAt = 0;
  /** When the mount was last known to be there. */
  #upAt = 0;
  /** Ends the attempt to mount that is under way. */
  #attempt: AbortController | undefined;
  #isChecking = false;
  #isMounted = false;
  #isDisposed = false;

  constructor(
    readonly name: string,
    readonly settings: VolumeSettings,
    readonly mount: VolumeMount,
    private readonly tell: LogSink,
  ) {}

  /** Where an engine finds it. Empty: it is not mounted. */
  get path(): string {
    return this.mount.isPublished ? this.mount.path : '';
  }

  get status(): VolumeStatus {
    const { mounted: target, options } = this.settings;
    const failure = this.#failure === undefined ? {} : { failure: this.#failure };
    return { target, options: options.join(','), state: this.#state, ...failure };
  }

  get #state(): VolumeStatus['state'] {
    if (this.#ending !== undefined) return 'being unmounted';
    if (this.#making !== undefined) return 'being mounted';
    return this.mount.isPublished ? 'mounted' : 'not mounted';
  }

  get #isWanted(): boolean {
    return this.#users.size > 0 || this.#usersUnknown;
  }

  /**
   * Call it once at the start. A mount that is there is adopted; one that `wasMounted` and is not there any more is made
   * again by {@link watch}.
   */
  adopt(entry: MountEntry | undefined, wasMounted: boolean): void {
    this.#isMounted = entry !== undefined;
    this.#usersUnknown = entry !== undefined || wasMounted;
    if (entry !== undefined) {
      this.#publish();
      return;
    }
    this.mount.withdraw();
    this.mount.removeFolders();
  }

  /** Mounts it for one more user, who may be told by an error that it takes longer: then it goes on by itself. */
  async use(id: string, patience: EnginePatience): Promise<string> {
    const isNew = !this.#users.has(id);
    this.#users.add(id);
    try {
      if (!(await this.#isUpInTime(patience)))
        throw new UserError(
          `Volume ${this.name} is not mounted yet: ${this.settings.mounted} does not answer in time.`,
          { remedy: 'The attempt goes on; try again in a moment.' },
        );
    } catch (error) {
      if (isNew) this.#users.delete(id);
      throw error;
    }
    return this.mount.path;
  }

  async #isUpInTime({ ms, slowMs }: EnginePatience): Promise<boolean> {
    const up = this.#up();
    if (await isInTime(up, ms - SIGN_OF_LIFE_MS)) return true;
    let lives = false;
    if (slowMs > ms)
      void exportsForExplanation(this.settings.request.client).then((exports) => {
        lives = exports !== undefined;
      });
    if (await isInTime(up, SIGN_OF_LIFE_MS)) return true;
    return lives && isInTime(up, slowMs - ms);
  }

  /** One user less. The last one's leave unmounts it. @throws UserError if it stays mounted */
  async release(id: string): Promise<void> {
    this.#users.delete(id);
    if (this.#users.size > 0) return;
    if (this.#usersUnknown) {
      if (await this.#isSeenElsewhere()) return;
      this.#usersUnknown = false;
      // Another user may have come meanwhile.
      if (this.#users.size > 0) return;
    }
    if (!(await isInTime(this.#down(), PATIENCE_MS)))
      this.tell(
        'warn',
        `Volume ${this.name} has no users any more, and is being unmounted: its server does not answer in time.`,
      );
  }

  /**
   * Unmounts it for good, and calls `forget`. The engine knows whether containers use it, and has not asked for this then; one
   * that still sees the mount keeps its copy of it. @throws UserError if it stays mounted, or data is still to be written
   * back, or what `forget` throws: the volume can be used as before then
   */
  async dispose(forget: () => void): Promise<void> {
    this.#isDisposed = true;
    this.#users.clear();
    this.#usersUnknown = false;
    try {
      if (!(await isInTime(this.#downForGood(), PATIENCE_MS)))
        throw new UserError(
          `Volume ${this.name} is still being unmounted: ${this.settings.mounted} does not answer in time.`,
          {
            remedy: `Try again later, or run "nfs-fuse umount --force ${this.mount.place}", which loses what is not written back.`,
          },
        );
      forget();
    } catch (error) {
      this.#isDisposed = false;
      throw error;
    }
  }

  async #downForGood(): Promise<void> {
    do await this.#down();
    while (this.#making !== undefined);
  }

  /** Looks at the mount table as it was at the time `now`, and mounts again what is gone though it has users. Never rejects. */
  watch(entries: readonly MountEntry[], now: number): void {
    const entry = this.mount.entryIn(entries);
    // A table that is older than the mount does not have it.
    if (entry === undefined && this.#upAt >= now) return;
    // Before anything else, whatever is under way: an engine must not find a folder that is not mounted.
    if (entry === undefined && this.mount.isPublished) this.mount.withdraw();
    if (this.#making !== undefined || this.#ending !== undefined || this.#isChecking) return;
    if (!this.#isWanted) return;
    if (entry === undefined) this.#makeAgain(now);
    else if (now >= this.#checkAt) {
      this.#checkAt = now + CHECK_MS;
      void this.#check(entry);
    }
  }

  async #check(entry: MountEntry): Promise<void> {
    this.#isChecking = true;
    try {
      if (!(await this.mount.isDead(entry))) return;
      this.#isChecking = false;
      this.#makeAgain(performance.now());
    } catch (error) {
      this.tell('warn', `Volume ${this.name} cannot be looked at: ${textOf(error)}`);
    } finally {
      this.#isChecking = false;
    }
  }

  #makeAgain(now: number): void {
    if (now < this.#retryAt) return;
    if (this.#failures === 0)
      this.tell('error', `The mount of volume ${this.name} has died. It is mounted again.`);
    this.#up().then(
      () => this.tell('info', `Volume ${this.name} is mounted again.`),
      (error: unknown) => {
        this.#retryAt = performance.now() + (RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)] ?? 0);
        this.tell('error', `Volume ${this.name} could not be mounted again: ${textOf(error)}`);
      },
    );
  }

  /** Mounts it unless it is mounted. All who ask meanwhile wait for the same attempt. */
  #up(): Promise<void> {
    // An attempt that was given up fails soon. A user who comes after that decision has the next one.
    if (this.#making !== undefined && this.#ending !== undefined && this.#attempt?.signal.aborted === true)
      return this.#ending.catch(() => {}).then(() => this.#up());
    this.#making ??= this.#bringUp().finally(() => {
      this.#making = undefined;
      if (!this.#isWanted && this.#isMounted) this.#endLater();
    });
    return this.#making;
  }

  async #bringUp(): Promise<void> {
    await this.#ending?.catch(() => {});
    if (this.#isDisposed) throw new UserError(`Volume ${this.name} is being removed.`);
    this.#attempt = new AbortController();
    const { signal } = this.#attempt;
    try {
      const entry = await this.mount.entry();
      if (entry === undefined || !(await this.#isFit(entry))) await this.#makeNew(entry, signal);
      this.#isMounted = true;
      this.#publish();
    } catch (error) {
      this.#failures++;
      this.#failure = textOf(error);
      throw error;
    }
    this.#failures = 0;
    this.#retryAt = 0;
    this.#failure = undefined;
  }

  async #isFit(entry: MountEntry): Promise<boolean> {
    if (entry.source.toString() !== this.settings.request.source) return false;
    // It may go while it is looked at; the folder below it does not look dead.
    return !(await this.mount.isDead(entry)) && (await this.mount.entry())?.id === entry.id;
  }

  #publish(): void {
    this.#upAt = performance.now();
    this.mount.publish();
  }

  async #makeNew(old: MountEntry | undefined, signal: AbortSignal): Promise<void> {
    this.mount.withdraw();
    this.#isMounted = false;
    // It may have gone by itself.
    if (old !== undefined && (await this.mount.entry()) !== undefined) await this.mount.takeAway(old);
    const { folders, request } = this.settings;
    if (folders.length > 0 && !request.client.readOnly) await makeSubFolder(this.settings, signal);
    signal.throwIfAborted();
    await this.mount.make(this.settings);
  }

  #endLater(): void {
    setTimeout(() => {
      if (this.#isWanted || this.#making !== undefined) return;
      this.#down().catch((error: unknown) => this.tell('warn', `Volume ${this.name}: ${textOf(error)}`));
    }, UNUSED_MS).unref();
  }

  /** Unmounts it if it is mounted. */
  #down(): Promise<void> {
    this.#ending ??= this.#bringDown().finally(() => {
      this.#ending = undefined;
    });
    return this.#ending;
  }

  async #bringDown(): Promise<void> {
    const { mount } = this;
    this.#attempt?.abort(new UserError(`The attempt to mount volume ${this.name} was given up.`));
    mount.interrupt();
    await this.#making?.catch(() => {});
    mount.withdraw();
    if ((await mount.entry()) === undefined) {
      mount.removeFolders();
    } else {
      try {
        const said = await mount.end();
        if (said !== '') this.tell('warn', `Volume ${this.name}: ${said}`);
      } catch (error) {
        // It may have been unmounted all the same.
        if ((await mount.entry().catch(() => undefined)) !== undefined) this.#publish();
        this.#failure = textOf(error);
        throw error;
      }
    }
    this.#isMounted = false;
    this.#failure = undefined;
    this.#failures = 0;
    this.#retryAt = 0;
  }

  /** Whether a container still sees the mount: those of an earlier plugin's time are known by this alone. */
  async #isSeenElsewhere(): Promise<boolean> {
    const entry = await this.mount.entry();
    return entry !== undefined && (await otherPlacesOf(entry, entry.mountpoint)).processes.length > 0;
  }
}

/** Waits for at most so long, and says whether that was enough. The work goes on in any case. */
async function isInTime(work: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  work.catch(() => {});
  try {
    return await Promise.race([work.then(() => true as const), late]);
  } finally {
    clearTimeout(timer);
  }
}
