/**
 * One process of the workload: picks operations by its seed, has an agent carry them out on the mount and the
 * reference tree carry them out in memory, and compares what comes back, errnos included.
 */
import { constants } from 'node:fs';
import { type Agent, errnoOf } from '../support/agent.js';
import { SeededRandom } from '../support/seeded-random.js';
import {
  closed,
  create,
  directories,
  link,
  type ModelDirectory,
  type ModelFile,
  type ModelNode,
  mkdir,
  nodeAt,
  type Outcome,
  rename,
  resize,
  rmdir,
  symlink,
  unlink,
  type Where,
  write,
} from './reference-tree.js';

/** Mount and reference differ; the message says how. */
export class Difference extends Error {}

/** A part of the tree in which only this worker's names begin with `prefix`, and only it changes them. */
export interface Area {
  readonly path: string;
  readonly directory: ModelDirectory;
  readonly prefix: string;
}

interface OpenFile {
  readonly fd: number;
  readonly file: ModelFile;
  readonly append: boolean;
}

interface Named extends Where {
  readonly path: string;
}

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];
const KINDS = new Map<number, ModelNode['kind']>([
  [constants.S_IFREG, 'file'],
  [constants.S_IFDIR, 'directory'],
  [constants.S_IFLNK, 'link'],
]);
const MAX_OPEN = 5;
const MAX_DEPTH = 2;
const HISTORY = 40;
/** Writes are mostly small; some need several pages, and some several WRITEs. */
const SIZES = [1, 7, 100, 511, 4096, 5000, 20_000, 70_000];
const MAX_FILE = 400_000;

export class Worker {
  /** The last operations, for the report. */
  readonly history: string[] = [];
  done = 0;
  readonly #agent: Agent;
  readonly #random: SeededRandom;
  readonly #areas: readonly Area[];
  #open: OpenFile[] = [];
  #stamp = 0;

  constructor(
    agent: Agent,
    seed: number,
    readonly number: number,
    areas: readonly Area[],
  ) {
    this.#agent = agent;
    this.#random = new SeededRandom(seed, number);
    this.#areas = areas;
  }

  /** One operation. Throws Difference. */
  async step(): Promise<void> {
    const [, operation] = this.#pickOperation();
    await operation();
    this.done += 1;
  }

  #pickOperation(): readonly [number, () => Promise<void>] {
    const operations: readonly (readonly [number, () => Promise<void>])[] = [
      [10, () => this.#create()],
      [16, () => this.#write()],
      [8, () => this.#read()],
      [6, () => this.#readWhole()],
      [3, () => this.#truncateOpen()],
      [3, () => this.#truncatePath()],
      [4, () => this.#fsync()],
      [5, () => this.#close()],
      [7, () => this.#unlink()],
      [7, () => this.#rename()],
      [4, () => this.#link()],
      [3, () => this.#mkdir()],
      [3, () => this.#rmdir()],
      [2, () => this.#symlink()],
      [4, () => this.#list()],
      [4, () => this.#stat()],
      [2, () => this.#statOpen()],
    ];
    let left = this.#random.below(operations.reduce((sum, [weight]) => sum + weight, 0));
    for (const choice of operations) {
      if (left < choice[0]) return choice;
      left -= choice[0];
    }
    throw new Error('the weights do not add up');
  }

  /** Closes everything; nothing of the worker's is under a silly name afterwards. */
  async finish(): Promise<void> {
    while (this.#open.length > 0) await this.#close();
  }

  // ---- choosing

  #where(): Named {
    const area = this.#random.pick(this.#areas);
    const folders = directories(area.directory).filter(
      ({ path }) => path === '' || path.startsWith(area.prefix),
    );
    const { path, directory } = this.#random.pick(folders);
    const name = (path === '' ? area.prefix : '') + this.#random.pick(NAMES);
    return { directory, name, path: [area.path, path, name].filter((part) => part !== '').join('/') };
  }

  #depth({ path }: Named): number {
    return path.split('/').length - 1;
  }

  /** Bytes that occur nowhere else: they tell which worker wrote them, and when. */
  #data(): Buffer {
    const size = this.#random.pick(SIZES);
    this.#stamp += 1;
    const text = `<${this.number}.${this.#stamp}>`;
    return Buffer.from(text.repeat(Math.ceil(size / text.length)).slice(0, size));
  }

  #note(what: string): void {
    this.history.push(what);
    if (this.history.length > HISTORY) this.history.shift();
  }

  async #expect(what: string, call: Promise<unknown>, expected: Outcome): Promise<boolean> {
    this.#note(what);
    const actual = await errnoOf(call);
    const wanted = expected ?? 'no error';
    if (actual !== wanted) throw new Difference(`${what}: ${actual}, and should be ${wanted}`);
    return expected === undefined;
  }

  async #value<T>(what: string, call: Promise<T>): Promise<T> {
    this.#note(what);
    try {
      return await call;
    } catch (error) {
      throw new Difference(`${what}: ${String(error)}`);
    }
  }

  // ---- operations on descriptors

  async #create(): Promise<void> {
    if (this.#open.length >= MAX_OPEN) await this.#close();
    const where = this.#where();
    const append = this.#random.oneIn(4);
    const exclusive = this.#random.oneIn(3);
    const truncate = !exclusive && this.#random.oneIn(4);
    const { O_APPEND, O_CREAT, O_EXCL, O_RDWR, O_TRUNC } = constants;
    const flags =
      O_RDWR | O_CREAT | (append ? O_APPEND : 0) | (exclusive ? O_EXCL : 0) | (truncate ? O_TRUNC : 0);
    const words = ['open', append && 'append', exclusive && 'excl', truncate && 'trunc', where.path];
    const what = words.filter(Boolean).join(' ');
    const node = nodeAt(where);
    // An open would follow a symbolic link; the workload never does.
    if (node?.kind === 'link' && !exclusive) return;
    const expected = create(where, exclusive);
    const call = this.#agent.open(where.path, flags);
    if (typeof expected === 'string') {
      await this.#expect(what, call, expected);
      return;
    }
    const fd = await this.#value(what, call);
    this.#note(`  is descriptor ${fd}`);
    expected.opens += 1;
    if (truncate) resize(expected, 0);
    this.#open.push({ fd, file: expected, append });
  }

  #pickOpen(): OpenFile | undefined {
    return this.#open.length === 0 ? undefined : this.#random.pick(this.#open);
  }

  async #write(): Promise<void> {
    const open = this.#pickOpen();
    if (open === undefined) return this.#create();
    const { fd, file, append } = open;
    const data = this.#data();
    const size = file.data.length;
    if (size + data.length > MAX_FILE) return this.#truncateOpen();
    // Mostly within the file or right behind it, at times beyond a hole.
    const offset = append
      ? size
      : this.#random.oneIn(3)
        ? size
        : this.#random.below(size + (this.#random.oneIn(6) ? 9000 : 1));
    const what = append ? `append ${data.length} to ${fd}` : `write ${data.length} at ${offset} to ${fd}`;
    const call = append ? this.#agent.write(fd, data) : this.#agent.pwrite(fd, data, offset);
    const written = await this.#value(what, call);
    if (written !== data.length) throw new Difference(`${what}: ${written} bytes were written`);
    write(file, offset, data);
  }

  async #read(): Promise<void> {
    const open = this.#pickOpen();
    if (open === undefined) return this.#create();
    const { fd, file } = open;
    const offset = this.#random.below(file.data.length + 100);
    const length = this.#random.between(1, 80_000);
    const what = `read ${length} at ${offset} from ${fd}`;
    const data = await this.#value(what, this.#agent.pread(fd, length, offset));
    compareBytes(what, data, file.data.subarray(offset, offset + length));
  }

  async #truncateOpen(): Promise<void> {
    const open = this.#pickOpen();
    if (open === undefined) return this.#create();
    const size = this.#newSize(open.file);
    await this.#expect(`ftruncate ${open.fd} to ${size}`, this.#agent.ftruncate(open.fd, size), undefined);
    resize(open.file, size);
  }

  #newSize(file: ModelFile): number {
    return this.#random.below(file.data.length + (this.#random.oneIn(3) ? 10_000 : 1));
  }

  async #fsync(): Promise<void> {
    const open = this.#pickOpen();
    if (open === undefined) return this.#create();
    await this.#expect(`fsync ${open.fd}`, this.#agent.fsync(open.fd), undefined);
  }

  async #close(): Promise<void> {
    const open = this.#pickOpen();
    if (open === undefined) return this.#create();
    this.#open = this.#open.filter((other) => other !== open);
    await this.#expect(`close ${open.fd}`, this.#agent.closeFd(open.fd), undefined);
    closed(open.file);
  }

  async #statOpen(): Promise<void> {
    const open = this.#pickOpen();
    if (open === undefined) return this.#create();
    const what = `fstat ${open.fd}`;
    const { size, nlink } = await this.#value(what, this.#agent.fstat(open.fd));
    this.#compareStat(what, open.file, size, nlink);
  }

  // ---- operations on names

  async #readWhole(): Promise<void> {
    const where = this.#where();
    const node = nodeAt(where);
    if (node?.kind === 'link') {
      const what = `readlink ${where.path}`;
      const target = await this.#value(what, this.#agent.readlink(where.path));
      if (target.toString() !== node.target) throw new Difference(`${what}: ${target}, not ${node.target}`);
      return;
    }
    const what = `read all of ${where.path}`;
    const call = this.#agent.readFile(where.path);
    if (node?.kind === 'file') compareBytes(what, await this.#value(what, call), node.data);
    else await this.#expect(what, call, node === undefined ? 'ENOENT' : 'EISDIR');
  }

  async #truncatePath(): Promise<void> {
    const where = this.#where();
    const node = nodeAt(where);
    if (node?.kind === 'link') return;
    const size = node?.kind === 'file' ? this.#newSize(node) : 0;
    const expected = node === undefined ? 'ENOENT' : node.kind === 'directory' ? 'EISDIR' : undefined;
    await this.#expect(`truncate ${where.path} to ${size}`, this.#agent.truncate(where.path, size), expected);
    if (node?.kind === 'file') resize(node, size);
  }

  async #unlink(): Promise<void> {
    const where = this.#where();
    await this.#expect(`unlink ${where.path}`, this.#agent.unlink(where.path), unlink(where));
  }

  async #rename(): Promise<void> {
    const from = this.#where();
    const to = this.#where();
    const moved = nodeAt(from);
    const target = nodeAt(to);
    // Not deeper than MAX_DEPTH, and not over a directory that is only empty without its silly names.
    if (moved?.kind === 'directory' && this.#depth(to) > this.#depth(from)) return;
    if (target?.kind === 'directory' && target.silly > 0) return;
    const expected = rename(from, to);
    await this.#expect(`rename ${from.path} ${to.path}`, this.#agent.rename(from.path, to.path), expected);
  }

  async #link(): Promise<void> {
    const from = this.#where();
    const to = this.#where();
    // Systems differ in whether a symbolic link can have a second name.
    if (nodeAt(from)?.kind === 'link') return;
    const expected = link(from, to);
    await this.#expect(`link ${from.path} ${to.path}`, this.#agent.link(from.path, to.path), expected);
  }

  async #mkdir(): Promise<void> {
    const where = this.#where();
    if (this.#depth(where) >= MAX_DEPTH) return;
    await this.#expect(`mkdir ${where.path}`, this.#agent.mkdir(where.path), mkdir(where));
  }

  async #rmdir(): Promise<void> {
    const where = this.#where();
    const node = nodeAt(where);
    if (node?.kind === 'directory' && node.silly > 0) return;
    await this.#expect(`rmdir ${where.path}`, this.#agent.rmdir(where.path), rmdir(where));
  }

  async #symlink(): Promise<void> {
    const where = this.#where();
    const target = `target-${this.number}-${this.#random.below(1000)}`;
    const what = `symlink ${target} ${where.path}`;
    await this.#expect(what, this.#agent.symlink(target, where.path), symlink(where, target));
  }

  async #list(): Promise<void> {
    const area = this.#random.pick(this.#areas);
    const { path, directory } = this.#random.pick(
      directories(area.directory).filter(({ path }) => path === '' || path.startsWith(area.prefix)),
    );
    const prefix = path === '' ? area.prefix : '';
    const full = path === '' ? area.path : `${area.path}/${path}`;
    const what = `list ${full}`;
    const names = await this.#value(what, this.#agent.list(full));
    const actual = names.map(String).filter((name) => name.startsWith(prefix) && !name.startsWith('.nfs'));
    const expected = [...directory.entries.keys()].filter((name) => name.startsWith(prefix));
    const [has, should] = [actual.sort().join(' '), expected.sort().join(' ')];
    if (has !== should) throw new Difference(`${what}: has "${has}", and should have "${should}"`);
  }

  async #stat(): Promise<void> {
    const where = this.#where();
    const node = nodeAt(where);
    const what = `stat ${where.path}`;
    const call = this.#agent.lstat(where.path);
    if (node === undefined) {
      await this.#expect(what, call, 'ENOENT');
      return;
    }
    const { mode, size, nlink } = await this.#value(what, call);
    const kind = KINDS.get(mode & constants.S_IFMT);
    if (kind !== node.kind) throw new Difference(`${what}: a ${kind}, and should be a ${node.kind}`);
    if (node.kind === 'file') this.#compareStat(what, node, size, nlink);
  }

  #compareStat(what: string, file: ModelFile, size: number, nlink: number): void {
    if (size !== file.data.length) {
      throw new Difference(`${what}: size ${size}, and should be ${file.data.length}`);
    }
    if (nlink !== file.names) throw new Difference(`${what}: ${nlink} links, and should be ${file.names}`);
  }
}

/** Throws Difference with the place of the first byte that differs. */
export function compareBytes(what: string, actual: Buffer, expected: Buffer): void {
  if (actual.equals(expected)) return;
  let at = 0;
  while (at < Math.min(actual.length, expected.length) && actual[at] === expected[at]) at += 1;
  const around = (data: Buffer) =>
    JSON.stringify(data.subarray(Math.max(0, at - 8), at + 32).toString('latin1'));
  let behind = at;
  while (behind < Math.min(actual.length, expected.length) && actual[behind] !== expected[behind])
    behind += 1;
  throw new Difference(
    `${what}: ${actual.length} bytes, and should be ${expected.length}; they differ from ${at} (to about ${behind}): ` +
      `${around(actual)} instead of ${around(expected)}`,
  );
}
