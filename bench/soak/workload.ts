/**
 * The work of the long run on a mount, round by round: some of everything that programs do to files. All that is read is
 * compared with what was written. Files live for a few rounds and are then removed, so that the tree
 * keeps its size.
 */
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Agent } from '../../test/support/agent.js';
import { mustRun } from '../../test/support/process.js';
import type { SeededRandom } from '../../test/support/seeded-random.js';

/** Files of a round, and how many rounds' files there are at a time. */
const FILES = 40;
const GENERATIONS = 3;
/** Operations at a time. */
const PARALLEL = 4;
/** After each step, so many times as long as it took nothing is done: to stay well below one core. */
const REST = 4;
const LEAST_REST_MS = 50;
const MOST_REST_MS = 4_000;
/** A program on the mount waits for a server that is down, but not for so long. */
const TIMEOUT_MS = 15 * 60_000;
const BIG = 4 << 20;
const O_RDWR = 2;

export interface WorkloadParts {
  /** The mounted folder. */
  readonly folder: string;
  /** Unpacked in every round. */
  readonly archive: string;
  /** For memory maps. */
  readonly agent: Agent;
  readonly random: SeededRandom;
  /** The work ends between two operations. */
  readonly stop: AbortSignal;
}

export class Workload {
  rounds = 0;
  /** Operations done, by name. */
  readonly operations: Record<string, number> = {};
  readonly #parts: WorkloadParts;
  /** The content that every file must have, by its path in the folder. */
  readonly #expected = new Map<string, Buffer>();
  /** Files of the mount that this process has open, and who waits until there are none. */
  #open = 0;
  #allClosed: () => void = () => undefined;
  #gate: Promise<void> = Promise.resolve();

  constructor(parts: WorkloadParts) {
    this.#parts = parts;
  }

  /** Throws if anything is not as it should be. */
  async round(): Promise<void> {
    const folder = `round-${this.rounds}`;
    const steps = [
      () => this.#create(folder),
      () => this.#check(folder),
      () => this.#renameSome(folder),
      () => this.#overwriteSome(folder),
      () => this.#appendSome(folder),
      () => this.#map(folder),
      () => this.#check(folder),
      () => this.#unlinkSome(folder),
      () => this.#walk(),
      () => this.#unpack(),
      () => this.#useUnlinked(folder),
      () => this.#dropOld(),
    ];
    for (const step of steps) {
      if (this.#parts.stop.aborted) return;
      const start = performance.now();
      await step();
      const rest = Math.min(MOST_REST_MS, Math.max(LEAST_REST_MS, REST * (performance.now() - start)));
      await sleep(rest, undefined, { signal: this.#parts.stop }).catch(() => undefined);
    }
    this.rounds += 1;
  }

  /**
   * Runs `work`, which starts a program, while this process has no file of the mount open. A new program begins by
   * closing what it inherited, which flushes the files, and whoever started it waits until it has begun: if the proxy
   * in this process, or the server to be started, were needed for that, it would never come to pass.
   */
  async whileClosed<Result>(work: () => Promise<Result>): Promise<Result> {
    let open: () => void = () => undefined;
    this.#gate = new Promise((resolve) => {
      open = resolve;
    });
    try {
      if (this.#open > 0) await new Promise<void>((resolve) => (this.#allClosed = resolve));
      return await work();
    } finally {
      open();
    }
  }

  /** Compares everything with `folder`, which is what the server has. */
  async compare(folder: string): Promise<void> {
    for (const [path, data] of this.#expected) {
      const found = await readFile(join(folder, path));
      if (!found.equals(data)) throw new Error(`${path} on the server is not what was written`);
    }
  }

  #count(operation: string, times = 1): void {
    this.operations[operation] = (this.operations[operation] ?? 0) + times;
  }

  #path(path: string): string {
    return join(this.#parts.folder, path);
  }

  /** The expected files of a round. */
  #filesOf(folder: string): string[] {
    return [...this.#expected.keys()].filter((path) => path.startsWith(`${folder}/`));
  }

  #someOf(folder: string, oneIn: number): string[] {
    return this.#filesOf(folder).filter(() => this.#parts.random.oneIn(oneIn));
  }

  async #each(paths: readonly string[], work: (path: string) => Promise<void>): Promise<void> {
    const left = [...paths];
    const worker = async () => {
      for (let path = left.shift(); path !== undefined; path = left.shift()) {
        if (this.#parts.stop.aborted) return;
        await work(path);
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, worker));
  }

  async #withFile(path: string, flags: string, work: (file: FileHandle) => Promise<void>): Promise<void> {
    await this.#gate;
    this.#open++;
    try {
      const file = await open(this.#path(path), flags);
      try {
        await work(file);
      } finally {
        await file.close();
      }
    } finally {
      if (--this.#open === 0) this.#allClosed();
    }
  }

  async #create(folder: string): Promise<void> {
    const { random } = this.#parts;
    await mkdir(this.#path(folder));
    this.#count('mkdir');
    const files = Array.from({ length: FILES }, (_, index) => {
      const most = index === 0 ? BIG : random.oneIn(10) ? 1 << 20 : 1 << 15;
      return { path: `${folder}/file-${index}`, data: random.bytes(random.below(most)) };
    });
    const contents = new Map(files.map(({ path, data }) => [path, data]));
    await this.#each([...contents.keys()], async (path) => {
      const data = contents.get(path) ?? Buffer.alloc(0);
      await this.#withFile(path, 'wx', async (file) => {
        for (let at = 0; at < data.length; at += 1 << 16) {
          await file.write(data, at, Math.min(1 << 16, data.length - at), at);
        }
        if (random.oneIn(4)) await file.sync();
      });
      this.#expected.set(path, data);
      this.#count('create');
    });
  }

  async #check(folder: string): Promise<void> {
    await this.#each(this.#filesOf(folder), async (path) => {
      let data = Buffer.alloc(0);
      await this.#withFile(path, 'r', async (file) => {
        data = await file.readFile();
      });
      const expected = this.#expected.get(path);
      if (expected === undefined || !data.equals(expected)) {
        throw new Error(`${path}: read ${data.length} bytes that are not the ${expected?.length} written`);
      }
      this.#count('read');
    });
  }

  async #renameSome(folder: string): Promise<void> {
    await this.#each(this.#someOf(folder, 3), async (path) => {
      const data = this.#expected.get(path);
      if (data === undefined) return;
      const to = `${path}-renamed`;
      await rename(this.#path(path), this.#path(to));
      this.#expected.delete(path);
      this.#expected.set(to, data);
      this.#count('rename');
    });
  }

  async #overwriteSome(folder: string): Promise<void> {
    const { random } = this.#parts;
    await this.#each(this.#someOf(folder, 3), async (path) => {
      const before = this.#expected.get(path) ?? Buffer.alloc(0);
      const piece = random.bytes(random.below(1 << 14));
      const at = random.below(before.length + 1);
      const cut = random.oneIn(3) ? random.below(before.length + 1) : undefined;
      let after = Buffer.alloc(Math.max(before.length, at + piece.length));
      before.copy(after);
      piece.copy(after, at);
      await this.#withFile(path, 'r+', async (file) => {
        await file.write(piece, 0, piece.length, at);
        if (cut !== undefined) await file.truncate(cut);
      });
      if (cut !== undefined) after = after.subarray(0, cut);
      this.#expected.set(path, after);
      this.#count('overwrite');
      if (cut !== undefined) this.#count('truncate');
    });
  }

  async #appendSome(folder: string): Promise<void> {
    const { random } = this.#parts;
    await this.#each(this.#someOf(folder, 4), async (path) => {
      const pieces = Array.from({ length: 4 }, () => random.bytes(random.between(1, 3000)));
      await this.#withFile(path, 'a', async (file) => {
        for (const piece of pieces) await file.write(piece);
      });
      this.#expected.set(path, Buffer.concat([this.#expected.get(path) ?? Buffer.alloc(0), ...pieces]));
      this.#count('append', pieces.length);
    });
  }

  async #map(folder: string): Promise<void> {
    const { agent, random } = this.#parts;
    const path = this.#filesOf(folder).find((file) => (this.#expected.get(file)?.length ?? 0) > 8192);
    const before = path === undefined ? undefined : this.#expected.get(path);
    if (path === undefined || before === undefined) return;
    const fd = await agent.open(path, O_RDWR);
    const map = await agent.mmap(fd, before.length, true);
    const piece = random.bytes(4096);
    const at = random.below(before.length - piece.length);
    await agent.mapWrite(map, at, piece);
    const seen = await agent.mapRead(map, at, piece.length);
    if (!seen.equals(piece)) throw new Error(`${path}: the map does not show what was written into it`);
    await agent.msync(map);
    await agent.munmap(map);
    await agent.closeFd(fd);
    const after = Buffer.from(before);
    piece.copy(after, at);
    this.#expected.set(path, after);
    this.#count('mmap');
  }

  async #unlinkSome(folder: string): Promise<void> {
    await this.#each(this.#someOf(folder, 4), async (path) => {
      await unlink(this.#path(path));
      this.#expected.delete(path);
      this.#count('unlink');
    });
  }

  /** Everything is there, in its size, and nothing else. */
  async #walk(): Promise<void> {
    const folders = new Set([...this.#expected.keys()].map((path) => path.slice(0, path.indexOf('/'))));
    for (const folder of folders) {
      const names = (await readdir(this.#path(folder))).sort();
      const expected = this.#filesOf(folder).map((path) => path.slice(folder.length + 1));
      if (names.join() !== expected.sort().join()) throw new Error(`${folder} lists ${names.join(' ')}`);
      this.#count('readdir');
    }
    await this.#each([...this.#expected.keys()], async (path) => {
      const { size } = await stat(this.#path(path));
      const expected = this.#expected.get(path)?.length;
      if (size !== expected) throw new Error(`${path} has ${size} bytes instead of ${expected}`);
      this.#count('stat');
    });
    await this.#program(['find', this.#parts.folder, '-ls']);
    this.#count('find');
  }

  async #unpack(): Promise<void> {
    const { archive } = this.#parts;
    const folder = this.#path('unpacked');
    await mkdir(folder);
    await this.#program(['tar', 'xf', archive, '-C', folder]);
    await this.#program(['tar', 'df', archive, '-C', folder]);
    await this.#program(['rm', '-rf', folder]);
    this.#count('untar');
  }

  /** A file that is removed while it is open. */
  async #useUnlinked(folder: string): Promise<void> {
    const path = `${folder}/unlinked`;
    const data = this.#parts.random.bytes(5000);
    await this.#withFile(path, 'wx+', async (file) => {
      await file.write(data, 0, data.length, 0);
      await unlink(this.#path(path));
      const { buffer, bytesRead } = await file.read(Buffer.alloc(data.length), 0, data.length, 0);
      if (!buffer.subarray(0, bytesRead).equals(data)) throw new Error('an unlinked open file lost its data');
    });
    this.#count('unlink of an open file');
  }

  async #dropOld(): Promise<void> {
    const old = `round-${this.rounds - GENERATIONS + 1}`;
    const paths = this.#filesOf(old);
    if (paths.length === 0) return;
    // It has been untouched for some rounds.
    await this.#check(old);
    await rm(this.#path(old), { recursive: true });
    for (const path of paths) this.#expected.delete(path);
    this.#count('rm -r');
  }

  async #program(argv: readonly string[]): Promise<void> {
    await mustRun(argv, { cwd: '/', timeoutMs: TIMEOUT_MS });
  }
}
