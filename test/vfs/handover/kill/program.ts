import { NO_CHANGES } from '../../support/no-changes.js';
import type { Chance } from './chance.js';
import { type Kernel, ROOT } from './kernel.js';
import type { World } from './mortal-process.js';
import {
  type Descriptor,
  ProgramDirectory,
  ProgramFile,
  type ProgramObject,
  synced,
  tells,
} from './program-files.js';

const ESTALE = 116;
export const O_RDWR = 2;
const O_EXCL = 0o200;
export const O_APPEND = 0o2000;
export const O_SYNC = 0o4010000;
export const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];

/** Shared by all threads. */
export interface Shared {
  readonly files: Set<ProgramFile>;
  /** Lines that were appended to the log. */
  readonly lines: string[];
  /** How often the counter was incremented. */
  count: number;
  /** The holder of the lock of a node. */
  readonly holders: Map<number, string>;
  /** Nodes that some thread is about to name. */
  readonly pinned: Map<number, number>;
}

interface Place {
  readonly directory: ProgramDirectory;
  readonly nodeid: number;
}

export const errnoOf = (error: unknown): number | undefined => (error as { errno?: number }).errno;

export class Program {
  readonly root = new ProgramDirectory();
  protected readonly world: World;
  protected readonly chance: Chance;
  protected readonly kernel: Kernel;
  protected readonly name: string;
  protected readonly shared: Shared;
  protected readonly open: Descriptor[] = [];
  /** Names in its own directory that another client had: for a while they may still be seen (acdirmin). */
  readonly #theirs = new Set<string>();
  /** Nodes that it names in what it does now. */
  protected readonly pins: number[] = [];
  /** Its present work, for people. */
  doing = '';

  constructor(world: World, kernel: Kernel, name: string, shared: Shared) {
    this.world = world;
    this.chance = world.chance;
    this.kernel = kernel;
    this.name = name;
    this.shared = shared;
  }

  /** A directory of this thread, and its node. */
  protected async place(): Promise<Place> {
    const top = await this.node(ROOT, this.name);
    const inner = [...this.root.entries].filter(([, { kind }]) => kind === 'directory');
    if (inner.length === 0 || this.chance.often(0.5)) return { directory: this.root, nodeid: top };
    const [name, directory] = this.chance.of(inner);
    return { directory: directory as ProgramDirectory, nodeid: await this.node(top, name) };
  }

  /** The node of a name that is there. */
  protected async node(parent: number, name: string, anew = false): Promise<number> {
    const nodeid = await this.kernel.lookup(parent, name, anew);
    if (nodeid === 0) throw new Error(`${name} is gone`);
    this.pins.push(nodeid);
    const { pinned } = this.shared;
    pinned.set(nodeid, (pinned.get(nodeid) ?? 0) + 1);
    return nodeid;
  }

  /** As the kernel does before it makes a name. */
  protected async mustBeFree(parent: number, name: string): Promise<void> {
    if ((await this.kernel.lookup(parent, name)) !== 0) throw new Error(`${name} is there`);
  }

  protected freeName({ directory }: Place, names = NAMES): string | undefined {
    const isTheirs = (name: string): boolean => directory === this.root && this.#theirs.has(name);
    const free = names.filter((name) => !directory.entries.has(name) && !isTheirs(name));
    return free.length === 0 ? undefined : this.chance.of(free);
  }

  protected entry({ directory }: Place, kind: ProgramObject['kind']): [string, ProgramObject] | undefined {
    const all = [...directory.entries].filter(([, object]) => object.kind === kind);
    return all.length === 0 ? undefined : this.chance.of(all);
  }

  protected flags(): number {
    return O_RDWR | (this.chance.often(0.25) ? O_APPEND : 0) | (this.chance.often(0.25) ? O_SYNC : 0);
  }

  protected opened(fh: number, nodeid: number, file: ProgramFile, flags: number): Descriptor {
    const descriptor = { fh, nodeid, file, flags, untold: new Set<number>(), owed: false };
    file.open.add(descriptor);
    this.shared.files.add(file);
    this.kernel.opened(nodeid);
    return descriptor;
  }

  protected async create(): Promise<void> {
    const place = await this.place();
    const name = this.freeName(place);
    if (name === undefined) return;
    const flags = this.flags() | (this.chance.often(0.5) ? O_EXCL : 0);
    this.doing = `create ${name}`;
    await this.mustBeFree(place.nodeid, name);
    const { entry, open } = await this.kernel.ask((fs, ctx) =>
      fs.create(ctx, place.nodeid, Buffer.from(name), 0o644, flags),
    );
    const file = new ProgramFile();
    file.mode = 0o644;
    place.directory.entries.set(name, file);
    const nodeid = this.kernel.told(place.nodeid, name, entry);
    this.open.push(this.opened(open.fh, nodeid, file, flags));
  }

  /** A name that another client has taken meanwhile is not ours, however often we ask. */
  protected async foreign(): Promise<void> {
    const place = await this.place();
    const name = this.freeName(place);
    if (name === undefined || place.directory !== this.root) return;
    this.doing = `create ${name} after another client`;
    await this.mustBeFree(place.nodeid, name);
    this.world.server.tree.file(`${this.name}/${name}`, 'theirs');
    const making = this.kernel.ask((fs, ctx) =>
      fs.create(ctx, place.nodeid, Buffer.from(name), 0o644, O_RDWR | O_EXCL),
    );
    const errno = await making.then(() => 0, errnoOf);
    if (errno !== 17) throw new Error(`${errno} instead of EEXIST`);
    this.world.server.tree.remove(`${this.name}/${name}`);
    this.#theirs.add(name);
  }

  protected async openOne(): Promise<void> {
    if (this.open.length > 6) return this.close();
    const place = await this.place();
    const [name, object] = this.entry(place, 'file') ?? [];
    if (name === undefined) return;
    const flags = this.flags();
    this.doing = `open ${name}`;
    const { nodeid, fh } = await this.openPath(place.nodeid, name, flags);
    this.open.push(this.opened(fh, nodeid, object as ProgramFile, flags));
  }

  /** ESTALE makes the kernel look the name up once more, and try again. */
  protected async openPath(
    parent: number,
    name: string,
    flags: number,
  ): Promise<{ nodeid: number; fh: number }> {
    for (let isSecond = false; ; isSecond = true) {
      const nodeid = await this.node(parent, name, isSecond);
      try {
        const { fh } = await this.kernel.ask((fs, ctx) => fs.open(ctx, nodeid, flags));
        return { nodeid, fh };
      } catch (error) {
        if (isSecond || errnoOf(error) !== ESTALE) throw error;
      }
    }
  }

  protected async write(): Promise<void> {
    if (this.open.length === 0) return;
    const one = this.chance.of(this.open);
    const { file, flags } = one;
    file.mtime = undefined;
    const data = this.chance.bytes(1 + this.chance.below(this.chance.often(0.2) ? 3000 : 300));
    const offset = (flags & O_APPEND) !== 0 ? file.bytes.length : this.chance.below(file.bytes.length + 50);
    this.doing = `write ${data.length} at ${offset}, flags ${flags.toString(8)}`;
    if ((flags & O_SYNC) === 0) file.unsynced = true;
    const next = Buffer.alloc(Math.max(file.bytes.length, offset + data.length));
    file.bytes.copy(next);
    next.set(data, offset);
    if (file.doubtful && (flags & O_APPEND) !== 0) {
      // Nobody knows where the file ends by now.
      if (!(await this.fsync(one))) return;
      file.unsynced = (flags & O_SYNC) === 0;
    }
    const taken = await tells(one, () => this.send(one, offset, data));
    file.bytes = next;
    if (!taken) await this.writeAnew(one);
  }

  protected send({ fh, nodeid, flags }: Descriptor, offset: number, data: Buffer): Promise<number> {
    return this.kernel.exclusively(nodeid, () =>
      this.kernel.ask((fs, ctx) => {
        const request = { fh, offset, data: Buffer.from(data), flags, fromPageCache: false, direct: false };
        return fs.write(ctx, nodeid, request);
      }),
    );
  }

  /** A program that was told of a loss writes everything once more. */
  protected async writeAnew(one: Descriptor): Promise<void> {
    const { file, nodeid, fh } = one;
    const before = this.doing;
    file.mtime = undefined;
    for (let isDone = false; !isDone; ) {
      this.doing = `${before}; all of it once more`;
      file.unsynced = true;
      await this.kernel.ask((fs, ctx) => fs.setattr(ctx, nodeid, { ...NO_CHANGES, size: 0n, fh }));
      isDone = true;
      for (let at = 0; at < file.bytes.length && isDone; at += 1500)
        isDone = await tells(one, () => this.send(one, at, file.bytes.subarray(at, at + 1500)));
      isDone &&= await tells(one, () => this.kernel.ask((fs, ctx) => fs.fsync(ctx, nodeid, fh)));
    }
    file.unsynced = false;
    file.doubtful = false;
    this.doing = before;
  }

  protected async fsync(one: Descriptor): Promise<boolean> {
    const { fh, nodeid } = one;
    const isDone = await tells(one, () => this.kernel.ask((fs, ctx) => fs.fsync(ctx, nodeid, fh)));
    if (isDone) synced(one);
    if (!isDone || one.file.doubtful) await this.writeAnew(one);
    return isDone;
  }

  protected async sync(): Promise<void> {
    if (this.open.length === 0) return;
    this.doing = 'fsync';
    await this.fsync(this.chance.of(this.open));
  }

  protected flush({ fh, nodeid }: Descriptor): Promise<void> {
    return this.kernel.ask((fs, ctx) => fs.flush(ctx, nodeid, fh, BigInt(this.owner)));
  }

  protected async release({ fh, nodeid, file }: Descriptor, one?: Descriptor): Promise<void> {
    await this.kernel.ask((fs, ctx) => fs.release(ctx, nodeid, fh));
    for (const known of file.open) if (known === one || known.fh === fh) file.open.delete(known);
    this.kernel.closed(nodeid);
  }

  protected async close(): Promise<void> {
    const [one] = this.open.splice(this.chance.below(this.open.length), 1);
    if (one === undefined) return;
    this.doing = 'close';
    const isDone = await tells(one, () => this.flush(one));
    if (isDone) synced(one);
    if (!isDone || one.file.doubtful) await this.writeAnew(one);
    await this.release(one);
  }

  protected async read(): Promise<void> {
    if (this.open.length === 0) return;
    const { fh, nodeid, file, flags } = this.chance.of(this.open);
    const offset = this.chance.below(file.bytes.length + 10);
    const size = 1 + this.chance.below(2500);
    this.doing = `read ${size} at ${offset}`;
    const got = await this.readAt(fh, nodeid, offset, size, flags);
    const expected = file.bytes.subarray(offset, offset + size);
    if (!file.doubtful && !got.equals(expected))
      throw new Error(`read ${got.length} bytes that differ from the ${expected.length} that were written`);
  }

  protected readAt(fh: number, nodeid: number, offset: number, size: number, flags: number): Promise<Buffer> {
    return this.kernel.ask(async (fs, ctx) => {
      const { pieces, release } = await fs.read(ctx, nodeid, { fh, offset, size, flags, direct: false });
      const data = Buffer.concat(pieces);
      release();
      return data;
    });
  }

  protected async stat(): Promise<void> {
    const place = await this.place();
    const [name, object] = this.entry(place, 'file') ?? [];
    if (name === undefined) return;
    const file = object as ProgramFile;
    this.doing = `stat ${name}`;
    const nodeid = await this.node(place.nodeid, name);
    const { attributes } = await this.kernel.ask((fs, ctx) => fs.getattr(ctx, nodeid, undefined));
    if (!file.doubtful && Number(attributes.size) !== file.bytes.length)
      throw new Error(`its size is ${attributes.size} instead of ${file.bytes.length}`);
    if (file.mode !== undefined && (attributes.mode & 0o7777) !== file.mode)
      throw new Error(`its mode is ${attributes.mode.toString(8)} instead of ${file.mode.toString(8)}`);
    if (file.mtime !== undefined && attributes.mtime.seconds !== file.mtime)
      throw new Error(`its time is ${attributes.mtime.seconds} instead of ${file.mtime}`);
  }

  protected async truncate(): Promise<void> {
    if (this.open.length === 0) return;
    const one = this.chance.of(this.open);
    const { nodeid, fh, file } = one;
    if (file.doubtful) return;
    const size = this.chance.below(file.bytes.length + 20);
    this.doing = `truncate to ${size}`;
    await this.kernel.ask((fs, ctx) => fs.setattr(ctx, nodeid, { ...NO_CHANGES, size: BigInt(size), fh }));
    file.bytes = Buffer.concat([file.bytes.subarray(0, size)], size);
    file.mtime = undefined;
  }

  protected async chmod(): Promise<void> {
    if (this.open.length === 0) return;
    const { nodeid, file } = this.chance.of(this.open);
    const mode = this.chance.of([0o600, 0o640, 0o644]);
    this.doing = `chmod ${mode.toString(8)}`;
    await this.kernel.ask((fs, ctx) => fs.setattr(ctx, nodeid, { ...NO_CHANGES, mode }));
    file.mode = mode;
  }

  protected async utimes(): Promise<void> {
    if (this.open.length === 0) return;
    const { nodeid, file } = this.chance.of(this.open);
    // Data that is written again after it would move the time.
    if (file.doubtful) return;
    const seconds = 1 + this.chance.below(1_000);
    this.doing = `utimes ${seconds}`;
    const mtime = { seconds, nanoseconds: 0 };
    await this.kernel.ask((fs, ctx) => fs.setattr(ctx, nodeid, { ...NO_CHANGES, mtime }));
    file.mtime = seconds;
  }

  protected get owner(): number {
    return 1 + Number(this.name.slice(1));
  }
}
