/**
 * The addon's callbacks: takes their arguments apart, calls the operation, and lets libfuse's thread go on with the
 * answer, exactly once, whatever happens. Owns the account of what is under way.
 */
import { Errno, errnoName, FuseError } from '../fuse/contract/errno.js';
import type { SessionCounters } from '../fuse/session/session-counters.js';
import type { NativeBinding, NativeHandler, NativeRequest, NativeSignal } from './binding.js';
import { STAT_WORDS, STATFS_WORDS } from './encode.js';
import type { FileOperations } from './file-operations.js';
import { isPlausible, requestedTimes } from './native-request.js';
import type { NativeListing, PathOperations } from './path-operations.js';

/** Length of the addon's two tables. */
const TABLE_SIZE = 35;
const WORD = 2 ** 32;

export interface DriverOptions {
  readonly binding: NativeBinding;
  readonly paths: PathOperations;
  readonly files: FileOperations;
  /** libfuse serves the mount from now on. */
  readonly onInit: () => void;
  readonly log: (line: string) => void;
  readonly debug: ((line: string) => void) | undefined;
}

/** One callback: what is done with its arguments, and which values the addon expects. */
interface Callback {
  /** Answers the values for {@link NativeSignal} behind the request: the result, and what belongs to it. */
  run(request: NativeRequest, args: readonly unknown[]): Promise<readonly unknown[]>;
  /** The values that follow a negative errno. */
  failed(args: readonly unknown[]): readonly unknown[];
}

export class Driver {
  readonly handlers: readonly (NativeHandler | undefined)[];
  readonly implemented: Uint32Array;
  readonly #options: DriverOptions;
  readonly #requests = new Map<string, number>();
  readonly #errors = new Map<string, number>();
  #inFlight = 0;
  #faults = 0;

  constructor(options: DriverOptions) {
    this.#options = options;
    const { binding } = options;
    const handlers: (NativeHandler | undefined)[] = [];
    const implemented = new Uint32Array(TABLE_SIZE);
    const add = (name: string, handler: (signal: NativeSignal) => NativeHandler): void => {
      const operation = binding.operation(name);
      handlers[operation] = handler(binding.signal(name));
      implemented[operation] = 1;
    };
    add('init', (signal) => (request) => {
      signal(request, 0);
      options.onInit();
    });
    for (const [name, callback] of Object.entries(callbacks(options.paths, options.files)))
      add(name, (signal) => this.#handler(name, callback, signal));
    this.handlers = Array.from(handlers);
    this.implemented = implemented;
  }

  get counters(): SessionCounters {
    return {
      requests: Object.fromEntries(this.#requests),
      errors: Object.fromEntries(this.#errors),
      inFlight: this.#inFlight,
      faults: this.#faults,
    };
  }

  #handler(name: string, callback: Callback, signal: NativeSignal): NativeHandler {
    return (request, operation, ...args) => {
      count(this.#requests, name.toUpperCase());
      this.#inFlight += 1;
      const answer = (values: readonly unknown[]): void => {
        this.#inFlight -= 1;
        const [result, ...rest] = values;
        this.#options.debug?.(`${name} ${describe(args)} = ${String(result)}`);
        signal(request, Number(result), ...rest);
      };
      const fail = (error: unknown): void =>
        answer([-this.#errno(name, args, error), ...callback.failed(args)]);
      if (!isPlausible(request, operation)) {
        fail(new Error('fuse-native has another memory layout than that of the version supported'));
        return;
      }
      // An answer is never given from within the callback: the addon still works on the request.
      callback.run(request, args).then(answer, fail);
    };
  }

  #errno(name: string, args: readonly unknown[], error: unknown): number {
    if (error instanceof FuseError) {
      count(this.#errors, errnoName(error.errno));
      return error.errno;
    }
    this.#faults += 1;
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#options.log(`fuse-native: ${name} ${describe(args)} failed: ${detail}`);
    count(this.#errors, errnoName(Errno.EIO));
    return Errno.EIO;
  }
}

function callbacks(paths: PathOperations, files: FileOperations): Record<string, Callback> {
  return {
    getattr: withStat(([path]) => paths.getattr(text(path))),
    fgetattr: withStat(([, number]) => files.fgetattr(integer(number))),
    statfs: {
      run: async (_request, [path]) => [0, await paths.statfs(text(path))],
      failed: () => [new Uint32Array(STATFS_WORDS)],
    },
    access: plain(([path, mask]) => paths.access(text(path), integer(mask))),
    readlink: {
      run: async (_request, [path]) => [0, await paths.readlink(text(path))],
      failed: () => [''],
    },
    chmod: plain(([path, mode]) => paths.chmod(text(path), integer(mode))),
    chown: plain(([path, uid, gid]) => paths.chown(text(path), integer(uid), integer(gid))),
    truncate: plain(([path, low, high]) => paths.truncate(text(path), wide(low, high))),
    ftruncate: plain(([, number, low, high]) => files.ftruncate(integer(number), wide(low, high))),
    utimens: {
      run: async (request, [path, low]) => {
        const { atimeMs, mtimeMs } = requestedTimes(request);
        // Compare with the time that fuse-native hands out: it shows whether the other one was read from the right
        // place.
        if (Number(BigInt.asUintN(32, BigInt(atimeMs))) !== low) throw new FuseError(Errno.EOPNOTSUPP);
        await paths.utimens(text(path), atimeMs, mtimeMs);
        return [0];
      },
      failed: () => [],
    },
    mknod: plain(([path, mode, device]) => paths.mknod(text(path), integer(mode), integer(device))),
    mkdir: plain(([path, mode]) => paths.mkdir(text(path), integer(mode))),
    symlink: plain(([target, path]) => paths.symlink(text(target), text(path))),
    link: plain(([from, to]) => paths.link(text(from), text(to))),
    unlink: plain(([path]) => paths.unlink(text(path))),
    rmdir: plain(([path]) => paths.rmdir(text(path))),
    rename: plain(([from, to]) => paths.rename(text(from), text(to))),
    opendir: withNumber(async (_request, [path]) => {
      await paths.opendir(text(path));
      return 0;
    }),
    readdir: {
      run: async (_request, [path]) => {
        const { names, stats }: NativeListing = await paths.readdir(text(path));
        return [0, names, stats];
      },
      failed: () => [[], []],
    },
    open: withNumber((request, [path, flags]) => files.open(request, text(path), integer(flags))),
    create: withNumber((request, [path, mode]) => files.create(request, text(path), integer(mode))),
    read: withMemory((_request, [, number, memory, , low, high]) =>
      files.read(integer(number), bytes(memory), wide(low, high)),
    ),
    write: withMemory((request, [, number, memory, , low, high]) =>
      files.write(request, integer(number), bytes(memory), wide(low, high)),
    ),
    flush: plain(([, number]) => files.flush(integer(number))),
    fsync: plain(([, datasync, number]) => files.fsync(integer(number), datasync !== 0)),
    release: plain(([, number]) => files.release(integer(number))),
  };
}

type Arguments = readonly unknown[];

function plain(run: (args: Arguments) => Promise<void>): Callback {
  return {
    run: async (_request, args) => {
      await run(args);
      return [0];
    },
    failed: () => [],
  };
}

function withStat(run: (args: Arguments) => Promise<Uint32Array>): Callback {
  return {
    run: async (_request, args) => [0, await run(args)],
    failed: () => [new Uint32Array(STAT_WORDS)],
  };
}

function withNumber(run: (request: NativeRequest, args: Arguments) => Promise<number>): Callback {
  return { run: async (request, args) => [0, await run(request, args)], failed: () => [0] };
}

/** The result is a count; the addon takes its memory back from the buffer that it gave us. */
function withMemory(run: (request: NativeRequest, args: Arguments) => Promise<number>): Callback {
  return {
    run: async (request, args) => [await run(request, args), 0, bytes(args[2]).buffer],
    failed: (args) => [0, bytes(args[2]).buffer],
  };
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new TypeError('fuse-native passed no string');
  return value;
}

function integer(value: unknown): number {
  if (typeof value !== 'number') throw new TypeError('fuse-native passed no number');
  return value;
}

function bytes(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new TypeError('fuse-native passed no buffer');
  return value;
}

/** 64 bits in two halves. @throws FuseError EFBIG beyond what a number holds. */
function wide(low: unknown, high: unknown): number {
  const value = integer(low) + integer(high) * WORD;
  if (value > Number.MAX_SAFE_INTEGER) throw new FuseError(Errno.EFBIG);
  return value;
}

function count(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

function describe(args: Arguments): string {
  return args
    .map((arg) => (arg instanceof Uint8Array ? `(${arg.length} bytes)` : JSON.stringify(arg)))
    .join(' ');
}
