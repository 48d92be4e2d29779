/**
 * A kernel in front of processes that die: it sends requests, counts what it was told, and sends again what nobody has answered.
 * Owns which node ids it holds and what names stand for; it never trusts a page.
 */
import type { EntryReply, NegativeEntryReply } from '../../../../lib/fuse/contract/operations.js';
import type { NfsFileSystem } from '../../../../lib/vfs/filesystem.js';
import { TestContext } from '../../support/rig.js';
import { MortalProcess, type World } from './mortal-process.js';

export const ROOT = 1;

/** The work of a request; it is called once for each process that takes the request. */
export type Asking<Result> = (fs: NfsFileSystem, ctx: TestContext) => Result | Promise<Result>;

interface Request {
  readonly unique: number;
  readonly deliver: (process: MortalProcess, ctx: TestContext) => Promise<() => void>;
  /** A process has read it. */
  taken: boolean;
}

/** Lives of processes, in events. */
export type LifeSpan = () => number;

export class Kernel {
  readonly #world: World;
  readonly #life: LifeSpan;
  readonly #onDeath: (deaths: number) => void;
  readonly #unanswered = new Set<Request>();
  readonly #forgets: { readonly nodeid: number; readonly count: number }[] = [];
  readonly #nlookup = new Map<number, number>();
  readonly #dentries = new Map<string, number>();
  readonly #locks = new Map<number, Promise<void>>();
  /** Open files and directories, by node id. */
  readonly #opens = new Map<number, number>();
  #unique = 0;
  #process: MortalProcess;
  #failure: Error | undefined;
  deaths = 0;

  constructor(world: World, life: LifeSpan, onDeath: (deaths: number) => void) {
    this.#world = world;
    this.#life = life;
    this.#onDeath = onDeath;
    // It has a mount before anybody can ask anything of it.
    this.#process = new MortalProcess(world, 1 + life(), this.#died);
    this.#start();
  }

  get process(): MortalProcess {
    return this.#process;
  }

  /** Requests whose answer is awaited, for people. */
  get waiting(): number {
    return this.#unanswered.size;
  }

  readonly #died = (): void => {
    this.deaths++;
    this.#onDeath(this.deaths);
    const { left } = this.#process;
    this.#world.steps.add(() => {
      this.#process = new MortalProcess(this.#world, this.#life(), this.#died, left);
      this.#start();
    });
  };

  #start(): void {
    const process = this.#process;
    process.start().then(
      () => {
        if (process.dead) return;
        for (const request of this.#unanswered) this.#offer(request);
        for (const forget of this.#forgets.splice(0)) this.#forget(forget);
      },
      (error: unknown) => {
        if (!process.dead) this.#failure = error as Error;
      },
    );
  }

  /** Throws if a process could not go on. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #offer(request: Request): void {
    const process = this.#process;
    this.#world.steps.add(() => {
      if (!process.serving || !this.#unanswered.has(request)) return;
      const ctx = Object.assign(new TestContext(1000, 0), {
        unique: request.unique,
        resent: request.taken,
      });
      request.taken = true;
      void request.deliver(process, ctx).then((answer) =>
        this.#world.steps.add(() => {
          if (!process.event() || !this.#unanswered.delete(request)) return;
          answer();
        }),
      );
    });
  }

  /** Asks the process that serves the mount, or the ones after it. */
  ask<Result>(asking: Asking<Result>): Promise<Result> {
    this.#unique += 2;
    const unique = this.#unique;
    return new Promise((resolve, reject) => {
      const request: Request = {
        unique,
        taken: false,
        deliver: async (process, ctx) => {
          try {
            const result = await asking(process.fs, ctx);
            return () => resolve(result);
          } catch (error) {
            return () => reject(error);
          }
        },
      };
      this.#unanswered.add(request);
      if (this.#process.serving) this.#offer(request);
    });
  }

  /** One at a time of all that hold this node: i_rwsem. */
  async exclusively<Result>(nodeid: number, work: () => Promise<Result>): Promise<Result> {
    const before = this.#locks.get(nodeid) ?? Promise.resolve();
    const done = before.then(work);
    const ended = done.then(
      () => {},
      () => {},
    );
    this.#locks.set(nodeid, ended);
    return done;
  }

  /** The kernel was told of an entry. */
  told(parent: number, name: string, { nodeid }: EntryReply | NegativeEntryReply): number {
    const key = `${parent}/${name}`;
    const before = this.#dentries.get(key);
    if (nodeid === 0) {
      this.#dentries.delete(key);
      return 0;
    }
    this.#nlookup.set(nodeid, (this.#nlookup.get(nodeid) ?? 0) + 1);
    if (before !== undefined && before !== nodeid)
      throw new Error(`${key} was node ${before}, and is ${nodeid} now, although nobody has changed it`);
    this.#dentries.set(key, nodeid);
    return nodeid;
  }

  /** The node id of a name, asked for or, unless it is to be known `anew`, remembered. 0: there is none. */
  async lookup(parent: number, name: string, anew = false): Promise<number> {
    const known = this.#dentries.get(`${parent}/${name}`);
    if (!anew && known !== undefined && this.#world.chance.often(0.5)) return known;
    const reply = await this.ask((fs, ctx) => fs.lookup(ctx, parent, Buffer.from(name)));
    return this.told(parent, name, reply);
  }

  unlinked(parent: number, name: string): void {
    this.#dentries.delete(`${parent}/${name}`);
  }

  renamed(parent: number, name: string, newParent: number, newName: string): void {
    const nodeid = this.#dentries.get(`${parent}/${name}`);
    this.#dentries.delete(`${parent}/${name}`);
    this.#dentries.delete(`${newParent}/${newName}`);
    if (nodeid !== undefined) this.#dentries.set(`${newParent}/${newName}`, nodeid);
  }

  opened(nodeid: number): void {
    this.#opens.set(nodeid, (this.#opens.get(nodeid) ?? 0) + 1);
  }

  closed(nodeid: number): void {
    this.#opens.set(nodeid, (this.#opens.get(nodeid) ?? 1) - 1);
  }

  /** Memory is short: nodes that no thread uses now are forgotten. `isUsed`: a thread is about to name it. */
  shrink(isUsed: (nodeid: number) => boolean): void {
    const named = new Set([...this.#dentries.keys()].map((key) => Number(key.split('/')[0])));
    for (const [nodeid, count] of [...this.#nlookup]) {
      if (isUsed(nodeid) || named.has(nodeid) || (this.#opens.get(nodeid) ?? 0) > 0) continue;
      if (!this.#world.chance.often(0.5)) continue;
      this.#nlookup.delete(nodeid);
      for (const [key, to] of [...this.#dentries]) if (to === nodeid) this.#dentries.delete(key);
      this.#forget({ nodeid, count });
    }
  }

  #forget(forget: { readonly nodeid: number; readonly count: number }): void {
    const process = this.#process;
    if (!process.serving) {
      this.#forgets.push(forget);
      return;
    }
    this.#world.steps.add(() => {
      // Nobody answers it: one that a process had read is not sent again.
      if (process.serving) process.fs.forget(forget.nodeid, forget.count);
      else this.#forget(forget);
    });
  }
}
