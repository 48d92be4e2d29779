/**
 * Processes that serve one mount and die. Owns what counts as an event of a process, at each of which it may die: a record that
 * it writes, a call that it sends, a reply that it gets, an answer that it gives. Of a dead process nothing has any effect,
 * but for calls that had been sent, which the server may have carried out.
 */
import { fstatSync, ftruncateSync, readSync, writeSync } from 'node:fs';
import type { FuseNotifier } from '../../../../lib/fuse/contract/operations.js';
import { RecordMemory } from '../../../../lib/records/index.js';
import type { CallOptions, RpcCaller } from '../../../../lib/rpc/client/rpc-caller.js';
import type { Procedure } from '../../../../lib/rpc/wire/procedure.js';
import { DEFAULT_CONFIG } from '../../../../lib/vfs/config.js';
import { NfsFileSystem } from '../../../../lib/vfs/filesystem.js';
import { ServerRestarts } from '../../../../lib/vfs/remote/server-restarts.js';
import { ManualClock } from '../../../rpc/support/manual-clock.js';
import { FakeLockManager } from '../../support/fake-lock-manager.js';
import { FakeServer } from '../../support/fake-server.js';
import type { Chance } from './chance.js';

/** Events that may happen next, in no order. */
export class Steps {
  readonly #all: (() => void)[] = [];
  readonly #chance: Chance;

  constructor(chance: Chance) {
    this.#chance = chance;
  }

  get size(): number {
    return this.#all.length;
  }

  add(step: () => void): void {
    this.#all.push(step);
  }

  /** Takes one of them. False: there is none. */
  take(): boolean {
    const at = this.#chance.below(this.#all.length);
    const step = this.#all[at];
    if (step === undefined) return false;
    this.#all[at] = this.#all.at(-1) ?? step;
    this.#all.pop();
    step();
    return true;
  }
}

/** The things that outlive every process. */
export class World {
  readonly chance: Chance;
  readonly steps: Steps;
  readonly server = new FakeServer();
  readonly manager = new FakeLockManager();
  readonly log: string[] = [];
  /** There is memory for copies of what is written. */
  readonly hasRoom: boolean;
  /** Bytes; with more, pieces gather in places that have to grow. */
  readonly wsize: number;

  constructor(chance: Chance) {
    this.chance = chance;
    this.steps = new Steps(chance);
    this.hasRoom = chance.often(0.5);
    this.wsize = chance.often(0.5) ? 1024 : 16 * 1024;
    this.server.entriesPerReply = 7;
  }
}

function newMemory(): RecordMemory {
  const memory = RecordMemory.create();
  if (memory === undefined) throw new Error('this machine gives no memory that can be shared');
  return memory;
}

/** The work that the dead process goes on to write is not in it. */
function copyOf({ fd }: RecordMemory): RecordMemory {
  const content = Buffer.alloc(fstatSync(fd).size);
  readSync(fd, content, 0, content.length, 0);
  const copy = newMemory();
  ftruncateSync(copy.fd, 0);
  writeSync(copy.fd, content, 0, content.length, 0);
  return copy;
}

const NOTIFIER: FuseNotifier = {
  invalidateAttributes: () => true,
  invalidatePages: () => Promise.resolve(),
  invalidateEntry: () => Promise.resolve(),
  expireEntries: () => Promise.resolve(),
  expiresEntries: true,
};

export class MortalProcess {
  readonly fs: NfsFileSystem;
  readonly memory: RecordMemory;
  /** The memory as it was when the process died. */
  left: RecordMemory | undefined;
  readonly clock = new ManualClock();
  readonly #world: World;
  readonly #sent = new Set<() => void>();
  readonly #onDeath: () => void;
  /** Events until it dies. */
  #left: number;
  dead = false;
  /** It answers requests. */
  serving = false;

  /** `before`: the records of the process that it follows. */
  constructor(world: World, life: number, onDeath: () => void, before?: RecordMemory) {
    this.#world = world;
    this.#left = life;
    this.#onDeath = onDeath;
    const memory = before === undefined ? newMemory() : RecordMemory.adopt(before.fd);
    if (before === undefined) memory.setFacts({});
    if (!world.hasRoom) memory.takeBlock = () => undefined;
    this.memory = memory;
    this.#watchRecords();
    const { server, manager, log } = world;
    const note = (message: string): void => void log.push(message);
    const rpc = this.#caller(server);
    this.fs = new NfsFileSystem(
      {
        rpc,
        machineName: 'test',
        limits: { rsize: 1024, wsize: world.wsize, dtsize: 65_536, nameMax: 255 },
        rootHandle: server.root.handle,
        rootAttributes: server.tree.attributes(server.root),
        generation: 7,
        lockManager: { rpc: this.#caller(manager), port: 4045 } as never,
        restarts: new ServerRestarts(),
        findRoot: () => Promise.resolve(server.root.handle),
        close: () => Promise.resolve(),
      },
      { ...DEFAULT_CONFIG, host: 'h', exportPath: Buffer.from('/') },
      {
        log: { info: note, warn: note, error: note },
        clock: this.clock,
        handover: { memory, isTakeover: before !== undefined },
      },
    );
  }

  async start(): Promise<void> {
    await this.fs.takeUp();
    this.fs.init({ protocolMinor: 40, maxWrite: 1 << 20, maxReadahead: 1 << 17, flags: 0n }, NOTIFIER);
    this.serving = !this.dead;
  }

  /** One more event. False: the process is dead, and nothing comes of it. */
  event(): boolean {
    if (this.dead) return false;
    if (this.#left-- > 0) return true;
    this.dead = true;
    this.serving = false;
    this.left = copyOf(this.memory);
    for (const carryOut of this.#sent) if (this.#world.chance.often(0.5)) carryOut();
    this.#onDeath();
    return false;
  }

  liveOn(): void {
    this.#left = Number.POSITIVE_INFINITY;
  }

  #watchRecords(): void {
    const { memory } = this;
    const [put, setCell, free] = [
      memory.put.bind(memory),
      memory.setCell.bind(memory),
      memory.free.bind(memory),
    ];
    memory.put = (...record) => (this.event() ? put(...record) : 0);
    memory.setCell = (ref, cell, value) => {
      if (ref !== 0 && this.event()) setCell(ref, cell, value);
    };
    memory.free = (ref) => {
      if (ref !== 0 && this.event()) free(ref);
    };
  }

  #caller(server: RpcCaller): RpcCaller {
    return {
      recycle: (data) => {
        if (!this.dead) server.recycle?.(data);
      },
      call: <Arguments, Result>(
        procedure: Procedure<Arguments, Result>,
        args: Arguments,
        options: CallOptions,
      ): Promise<Result> =>
        new Promise((resolve, reject) => {
          const { cancellation: _, ...asked } = options;
          if (!this.event()) return;
          let result: Promise<Result> | undefined;
          const carryOut = (): void => {
            result = server.call(procedure, args, asked);
            result.catch(() => {});
          };
          this.#sent.add(carryOut);
          this.#world.steps.add(() => {
            if (this.dead) return;
            this.#sent.delete(carryOut);
            carryOut();
            this.#world.steps.add(() => {
              if (this.event()) result?.then(resolve, reject);
            });
          });
        }),
    } as RpcCaller;
  }
}
