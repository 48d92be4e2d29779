/**
 * A process that carries out system calls on a mount for a test, in the mount's place: it can hold descriptors,
 * memory maps and directory streams, be another user, and never blocks the test itself. Runs agent.py.
 *
 * Paths are relative to the folder that the agent was started in, and bytes where a string cannot say them.
 * A system call that fails rejects with an {@link AgentError}, whose `code` is the errno's name.
 */
import { copyFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Background, start } from './process.js';
import { projectRoot, python } from './project.js';

type Path = string | Buffer;
/** Nanoseconds since the epoch. */
type Time = bigint | 'now' | 'omit';

/** struct stat; times in nanoseconds since the epoch. */
export interface Stat {
  readonly mode: number;
  readonly ino: bigint;
  readonly dev: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly blocks: number;
  readonly blksize: number;
  readonly rdev: number;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** A directory entry, and the telldir position after it. */
export interface DirectoryEntry {
  readonly name: Buffer;
  readonly ino: number | bigint;
  readonly type: number;
  readonly position: number | bigint;
}

/** A system call failed: `code` is EXXX. */
export class AgentError extends Error {
  constructor(
    readonly code: string,
    operation: string,
    message: string,
  ) {
    super(`${operation}: ${message}`);
  }
}

type Wire = null | boolean | number | string | { b: string } | { n: string } | { d: object } | Wire[];
type Value = null | boolean | number | bigint | string | Buffer | { [name: string]: Value } | Value[];

function encode(value: unknown): Wire {
  if (value instanceof Uint8Array) return { b: Buffer.from(value).toString('base64') };
  if (typeof value === 'bigint') return { n: value.toString() };
  if (Array.isArray(value)) return value.map(encode);
  return value as Wire;
}

function decode(value: Wire): Value {
  if (Array.isArray(value)) return value.map(decode);
  if (value === null || typeof value !== 'object') return value;
  if ('b' in value) return Buffer.from(value.b, 'base64');
  if ('n' in value) return BigInt(value.n);
  return Object.fromEntries(Object.entries(value.d).map(([name, item]) => [name, decode(item as Wire)]));
}

function bytes(path: Path): Buffer {
  return typeof path === 'string' ? Buffer.from(path) : path;
}

interface Waiting {
  readonly operation: string;
  readonly resolve: (value: Value) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

export interface AgentOptions {
  /** Wraps the command, to run in a place. */
  readonly command?: (argv: readonly string[]) => string[];
  /** Where agent.py is copied to first, if its user cannot read the project. */
  readonly folder?: string;
  /** The folder that paths are relative to. */
  readonly cwd: string;
  /** A system call that takes longer is a failure of the test. */
  readonly timeoutMs?: number;
}

let copies = 0;

/** Copies in one step: other tests may be reading the target, or replacing it by the same. */
function copyWhole(source: string, target: string): void {
  const fresh = `${target}.${process.pid}.${copies++}`;
  copyFileSync(source, fresh);
  renameSync(fresh, target);
}

export class Agent {
  readonly #waiting = new Map<number, Waiting>();
  #next = 1;

  private constructor(
    readonly process: Background,
    private readonly timeoutMs: number,
  ) {
    const { stdout, stdin } = process.child;
    if (!stdout) throw new TypeError('the agent has no standard output');
    stdin?.on('error', () => undefined);
    createInterface({ input: stdout }).on('line', (line) => this.#answer(line));
    process.ended.then(
      () => this.#fail(`the agent ended: ${process.output.slice(-2000)}`),
      (error: unknown) => this.#fail(String(error)),
    );
  }

  static async start(options: AgentOptions): Promise<Agent> {
    const source = join(projectRoot, 'test/support/agent.py');
    const program = options.folder === undefined ? source : join(options.folder, 'agent.py');
    if (program !== source) copyWhole(source, program);
    const wrap = options.command ?? ((argv: readonly string[]) => [...argv]);
    const child = start(wrap([python, program]), { stdio: ['pipe', 'pipe', 'pipe'], cwd: '/' });
    const agent = new Agent(child, options.timeoutMs ?? 60_000);
    try {
      await agent.chdir(options.cwd);
    } catch (error) {
      // A process that nobody ends would keep the test's process from ending.
      await child.stop();
      throw error;
    }
    return agent;
  }

  #answer(line: string): void {
    const { id, ok, errno, message } = JSON.parse(line) as {
      id: number;
      ok?: Wire;
      errno?: string;
      message?: string;
    };
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    if (errno === undefined) waiting.resolve(decode(ok ?? null));
    else waiting.reject(new AgentError(errno, waiting.operation, message ?? ''));
  }

  #fail(why: string): void {
    for (const { operation, reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new Error(`${operation}: ${why}`));
    }
    this.#waiting.clear();
  }

  /** Carries out one operation of agent.py. */
  call<T = unknown>(operation: string, ...args: unknown[]): Promise<T> {
    if (this.process.outcome) return Promise.reject(new Error(`${operation}: the agent has ended`));
    const id = this.#next++;
    const described = `${operation}(${args.map((arg) => String(arg).slice(0, 60)).join(', ')})`;
    return new Promise<Value>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`${described}: no answer within ${this.timeoutMs} ms`));
      }, this.timeoutMs);
      this.#waiting.set(id, { operation: described, resolve, reject, timer });
      this.process.child.stdin?.write(`${JSON.stringify({ id, op: operation, args: args.map(encode) })}\n`);
    }) as Promise<T>;
  }

  /** Ends the agent; its descriptors are closed. */
  async close(): Promise<void> {
    this.process.child.stdin?.end();
    const killer = setTimeout(() => this.process.signal('SIGKILL'), 5000);
    await this.process.ended;
    clearTimeout(killer);
  }

  open = (path: Path, flags: number, mode = 0o644) => this.call<number>('open', bytes(path), flags, mode);
  closeFd = (fd: number) => this.call<null>('close', fd);
  dup = (fd: number) => this.call<number>('dup', fd);
  read = (fd: number, length: number) => this.call<Buffer>('read', fd, length);
  pread = (fd: number, length: number, offset: number) => this.call<Buffer>('pread', fd, length, offset);
  write = (fd: number, data: Path) => this.call<number>('write', fd, bytes(data));
  pwrite = (fd: number, data: Path, offset: number) => this.call<number>('pwrite', fd, bytes(data), offset);
  /** `whence`: 0 from the start, 1 from here, 2 from the end, 3 SEEK_DATA, 4 SEEK_HOLE. */
  lseek = (fd: number, offset: number, whence: number) => this.call<number>('lseek', fd, offset, whence);
  ftruncate = (fd: number, size: number) => this.call<null>('ftruncate', fd, size);
  truncate = (path: Path, size: number) => this.call<null>('truncate', bytes(path), size);
  fsync = (fd: number) => this.call<null>('fsync', fd);
  fdatasync = (fd: number) => this.call<null>('fdatasync', fd);
  fallocate = (fd: number, mode: number, offset: number, length: number) =>
    this.call<null>('fallocate', fd, mode, offset, length);

  stat = async (path: Path) => normal(await this.call<Stat>('stat', bytes(path)));
  lstat = async (path: Path) => normal(await this.call<Stat>('lstat', bytes(path)));
  fstat = async (fd: number) => normal(await this.call<Stat>('fstat', fd));
  statvfs = (path: Path) => this.call<Record<string, number>>('statvfs', bytes(path));
  /** access(2) with the agent's effective ids. */
  access = (path: Path, mode: number) => this.call<boolean>('access', bytes(path), mode);

  mkdir = (path: Path, mode = 0o755) => this.call<null>('mkdir', bytes(path), mode);
  rmdir = (path: Path) => this.call<null>('rmdir', bytes(path));
  unlink = (path: Path) => this.call<null>('unlink', bytes(path));
  rename = (from: Path, to: Path) => this.call<null>('rename', bytes(from), bytes(to));
  renameat2 = (from: Path, to: Path, flags: number) =>
    this.call<null>('renameat2', bytes(from), bytes(to), flags);
  link = (from: Path, to: Path) => this.call<null>('link', bytes(from), bytes(to));
  symlink = (target: Path, path: Path) => this.call<null>('symlink', bytes(target), bytes(path));
  readlink = (path: Path) => this.call<Buffer>('readlink', bytes(path));
  mkfifo = (path: Path, mode = 0o644) => this.call<null>('mkfifo', bytes(path), mode);
  mknod = (path: Path, mode: number, device: number) => this.call<null>('mknod', bytes(path), mode, device);
  bindSocket = (path: Path) => this.call<null>('bindSocket', bytes(path));
  chmod = (path: Path, mode: number) => this.call<null>('chmod', bytes(path), mode);
  fchmod = (fd: number, mode: number) => this.call<null>('fchmod', fd, mode);
  chown = (path: Path, uid: number, gid: number) => this.call<null>('chown', bytes(path), uid, gid);
  lchown = (path: Path, uid: number, gid: number) => this.call<null>('lchown', bytes(path), uid, gid);
  utimens = (path: Path, atime: Time, mtime: Time, follow = true) =>
    this.call<null>('utimens', bytes(path), atime, mtime, follow);
  getxattr = (path: Path, name: string) => this.call<Buffer>('getxattr', bytes(path), bytes(name));
  setxattr = (path: Path, name: string, value: string) =>
    this.call<null>('setxattr', bytes(path), bytes(name), bytes(value));
  listxattr = (path: Path) => this.call<string[]>('listxattr', bytes(path));

  chdir = (path: Path) => this.call<null>('chdir', bytes(path));
  getcwd = () => this.call<Buffer>('getcwd');
  umask = (mask: number) => this.call<number>('umask', mask);
  /** Becomes another user, for good; only root can. */
  become = (uid: number, gid: number, groups: readonly number[] = []) =>
    this.call<null>('become', uid, gid, groups);

  /** Names but "." and "..", sorted by their bytes. */
  list = (path: Path) => this.call<Buffer[]>('list', bytes(path));
  dirOpen = (path: Path) => this.call<number>('dirOpen', bytes(path));
  dirNext = async (stream: number): Promise<DirectoryEntry | undefined> => {
    const entry = await this.call<[Buffer, number, number, number | bigint] | null>('dirNext', stream);
    return entry === null ? undefined : { name: entry[0], ino: entry[1], type: entry[2], position: entry[3] };
  };
  dirRest = (stream: number, limit = 1 << 30) => this.call<Buffer[]>('dirRest', stream, limit);
  dirSeek = (stream: number, position: number | bigint) => this.call<null>('dirSeek', stream, position);
  dirRewind = (stream: number) => this.call<null>('dirRewind', stream);
  dirClose = (stream: number) => this.call<null>('dirClose', stream);

  mmap = (fd: number, length: number, writable: boolean) => this.call<number>('mmap', fd, length, writable);
  mapRead = (map: number, offset: number, length: number) =>
    this.call<Buffer>('mapRead', map, offset, length);
  mapWrite = (map: number, offset: number, data: Path) =>
    this.call<null>('mapWrite', map, offset, bytes(data));
  msync = (map: number) => this.call<null>('msync', map);
  munmap = (map: number) => this.call<null>('munmap', map);
  readDirect = (path: Path, offset: number, length: number) =>
    this.call<Buffer>('readDirect', bytes(path), offset, length);
  writeDirect = (path: Path, offset: number, data: Buffer) =>
    this.call<number>('writeDirect', bytes(path), offset, data);

  readFile = (path: Path) => this.call<Buffer>('readFile', bytes(path));
  writeFile = (path: Path, data: Path) => this.call<null>('writeFile', bytes(path), bytes(data));
  /** Creates empty files `prefix` + 7 digits, from `first` on. */
  makeFiles = (directory: Path, prefix: string, first: number, count: number) =>
    this.call<null>('makeFiles', bytes(directory), bytes(prefix), first, count);
  /** Lists what makeFiles made from 0 on, in one pass, and compares. */
  checkListing = async (directory: Path, prefix: string, count: number) => {
    const call = this.call<[number, number, number, number]>(
      'checkListing',
      bytes(directory),
      bytes(prefix),
      count,
    );
    const [entries, repeated, missing, others] = await call;
    return { entries, repeated, missing, others };
  };
  /** Unlinks every name as one pass of readdir gives it. */
  unlinkWhileReading = async (directory: Path) => {
    const [unlinked, absent] = await this.call<[number, number]>('unlinkWhileReading', bytes(directory));
    return { unlinked, absent };
  };
  parallelWrite = (path: Path, writers: number, blocks: number, block: number) =>
    this.call<number[]>('parallelWrite', bytes(path), writers, blocks, block);
  parallelAppend = (path: Path, writers: number, lines: number) =>
    this.call<number[]>('parallelAppend', bytes(path), writers, lines);

  /** Runs a program in the agent's current folder. */
  execute = async (argv: readonly string[], cwd: string | null = null) => {
    const [status, stdout, stderr] = await this.call<[number, Buffer, Buffer]>('execute', argv, cwd);
    return { status, stdout, stderr };
  };

  /** Carries out one operation in a forked child, which shares the open descriptors. */
  inChild = async <T>(operation: string, ...args: unknown[]): Promise<T> => {
    const answer = JSON.parse((await this.call<Buffer>('inChild', operation, args)).toString()) as {
      ok?: Wire;
      errno?: string;
      message?: string;
    };
    if (answer.errno !== undefined)
      throw new AgentError(answer.errno, `child ${operation}`, answer.message ?? '');
    return decode(answer.ok ?? null) as T;
  };
}

/** Makes every 64-bit field a bigint; small ones arrive as numbers. */
function normal(stat: Stat): Stat {
  const big = (value: bigint | number) => BigInt(value);
  return {
    ...stat,
    ino: big(stat.ino),
    atimeNs: big(stat.atimeNs),
    mtimeNs: big(stat.mtimeNs),
    ctimeNs: big(stat.ctimeNs),
  };
}

/** Resolves to the errno's name that a call fails with, or to 'no error'. */
export async function errnoOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return 'no error';
  } catch (error) {
    if (error instanceof AgentError) return error.code;
    throw error;
  }
}
