/** Watches mounts: asks them again and again, and prints what each has done since it was asked last. */
import { shownJson, shownName } from '../../base/shown-name.js';
import { UserError } from '../../base/user-error.js';
import { type AskedMount, mountsToAsk, type ToldStats } from './asking.js';
import { ratesOf } from './rates.js';
import { ratesText } from './rates-text.js';

export interface WatchOptions {
  /** Undefined: all mounts, also those that come later. */
  readonly path: string | undefined;
  readonly intervalMs: number;
  /** The number of rounds. One mount is reported in each of them, and of several those that are not silent. Undefined: until `ended`. */
  readonly count: number | undefined;
  /** One object on each line. */
  readonly json: boolean;
  /** The text has a row for every procedure that was called. */
  readonly allProcedures: boolean;
  /** The user has seen enough. */
  readonly ended: AbortSignal;
}

type State = 'answers' | 'silent' | 'gone';

/** Resolves with the exit status. Throws UserError if nothing of ours is mounted at the path at first. */
export async function watchMounts(options: WatchOptions, print: (text: string) => void): Promise<number> {
  return new MountWatcher(options, print).run();
}

class MountWatcher {
  readonly #options: WatchOptions;
  readonly #print: (text: string) => void;
  readonly #known = new Map<string, AskedMount>();
  readonly #answers = new Map<string, ToldStats>();
  /** Those that have not answered yet. They are not asked again meanwhile, and no other waits for them. */
  readonly #asked = new Map<string, Promise<void>>();

  readonly #userHasSeenEnough: Promise<void>;

  constructor(options: WatchOptions, print: (text: string) => void) {
    this.#options = options;
    this.#print = print;
    this.#userHasSeenEnough = whenAborted(options.ended);
  }

  async run(): Promise<number> {
    const { path, count = Number.POSITIVE_INFINITY, intervalMs, ended } = this.#options;
    const began = performance.now();
    for (let round = 0; round < count && !ended.aborted; round += 1) {
      if (round > 0) await pause(began + round * intervalMs - performance.now(), ended);
      if (ended.aborted) break;
      const mounts = await mountsToAsk(path).catch((error: unknown) => {
        if (round === 0 || !(error instanceof UserError)) throw error;
        return [];
      });
      this.#nameThoseGone(mounts);
      if (path !== undefined && mounts.length === 0) return 1;
      if (round === 0 && mounts.length === 0 && !this.#options.json)
        this.#print('Nothing is mounted by nfs-fuse here yet.\n');
      for (const mount of mounts) this.#ask(mount);
      // Where there is only one, nobody is kept.
      if (path !== undefined) await this.#allHaveAnswered();
    }
    await this.#allHaveAnswered();
    return 0;
  }

  /** Resolves early when the user has seen enough. */
  async #allHaveAnswered(): Promise<void> {
    await Promise.race([Promise.all(this.#asked.values()), this.#userHasSeenEnough]);
  }

  #nameThoseGone(mounts: readonly AskedMount[]): void {
    const present = new Map(mounts.map((mount) => [keyOf(mount), mount]));
    for (const [key, mount] of this.#known) {
      if (present.has(key)) continue;
      this.#known.delete(key);
      this.#answers.delete(key);
      this.#tell(mount, 'gone', 'is not mounted any more.');
    }
    for (const [key, mount] of present) this.#known.set(key, mount);
  }

  #ask(mount: AskedMount): void {
    const key = keyOf(mount);
    if (this.#asked.has(key)) return;
    const reported = mount.ask().then((stats) => {
      this.#asked.delete(key);
      if (!this.#options.ended.aborted && this.#known.has(key)) this.#report(mount, stats);
    });
    this.#asked.set(key, reported);
  }

  #report(mount: AskedMount, stats: ToldStats | undefined): void {
    const key = keyOf(mount);
    const report = stats === undefined ? undefined : this.#reportOrNone(mount, stats);
    if (stats === undefined || report === undefined) {
      this.#tell(mount, 'silent', 'does not answer: its process is stopped or busy, or has ended.');
      return;
    }
    this.#answers.set(key, stats);
    this.#print(report);
  }

  /** Undefined: the answer has not the shape of one. */
  #reportOrNone(mount: AskedMount, stats: ToldStats): string | undefined {
    const { source, mountpoint } = mount;
    try {
      const rates = ratesOf(stats, this.#answers.get(keyOf(mount)));
      return this.#options.json
        ? line({ state: 'answers', source, mountpoint, ...rates })
        : ratesText(mount, rates, { all: this.#options.allProcedures, time: timeOfDay() });
    } catch {
      return undefined;
    }
  }

  #tell({ source, mountpoint }: AskedMount, state: State, sentence: string): void {
    if (this.#options.json) this.#print(line({ state, source, mountpoint }));
    else this.#print(`${timeOfDay()} ${shownName(`${source} on ${mountpoint} ${sentence}`)}\n\n`);
  }
}

function line(fields: { readonly state: State } & Readonly<Record<string, unknown>>): string {
  return `${shownJson({ time: new Date().toISOString(), ...fields })}\n`;
}

/** The kernel gives the number of a device again, to another mount. */
function keyOf({ device, source, mountpoint }: AskedMount): string {
  return JSON.stringify([device, source, mountpoint]);
}

function timeOfDay(): string {
  return new Date().toTimeString().slice(0, 8);
}

function pause(milliseconds: number, ended: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, Math.max(0, milliseconds));
    ended.addEventListener('abort', done);
    function done(): void {
      clearTimeout(timer);
      ended.removeEventListener('abort', done);
      resolve();
    }
  });
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve());
  });
}
