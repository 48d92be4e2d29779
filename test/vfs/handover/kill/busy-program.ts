/** A program that does all sorts of things by chance: with its files, with names, with a log and counters that all share. */
import type { EntryReply } from '../../../../lib/fuse/contract/operations.js';
import { LAST_BYTE } from '../../../../lib/locks/index.js';
import { ROOT } from './kernel.js';
import { errnoOf, NAMES, O_APPEND, O_RDWR, O_SYNC, Program } from './program.js';
import { ProgramDirectory, ProgramFile } from './program-files.js';

const DIRECTORIES = ['x', 'y'];

export class BusyProgram extends Program {
  #lines = 0;

  async run(steps: number): Promise<void> {
    const deeds = [
      this.create,
      this.create,
      this.openOne,
      this.openOne,
      this.write,
      this.write,
      this.write,
      this.write,
      this.read,
      this.read,
      this.sync,
      this.close,
      this.#mkdir,
      this.#rmdir,
      this.#unlink,
      this.#unlink,
      this.#rename,
      this.#rename,
      this.#link,
      this.#symlink,
      this.#list,
      this.truncate,
      this.chmod,
      this.chmod,
      this.utimes,
      this.utimes,
      this.#appendLine,
      this.#countUp,
      this.foreign,
      this.stat,
    ];
    for (let step = 0; step < steps; step++) await this.#do(this.chance.of(deeds));
    while (this.open.length > 0) await this.#do(this.close);
  }

  async #do(deed: () => Promise<void>): Promise<void> {
    try {
      await deed.call(this);
    } catch (error) {
      throw new Error(`${this.name}: ${this.doing}: ${String(error)}`, { cause: error });
    }
    const { pinned } = this.shared;
    for (const nodeid of this.pins.splice(0)) pinned.set(nodeid, (pinned.get(nodeid) ?? 0) - 1);
    this.kernel.shrink((nodeid) => (pinned.get(nodeid) ?? 0) > 0);
  }

  async #mkdir(): Promise<void> {
    const nodeid = await this.node(ROOT, this.name);
    const place = { directory: this.root, nodeid };
    const name = this.freeName(place, DIRECTORIES);
    if (name === undefined) return;
    this.doing = `mkdir ${name}`;
    await this.mustBeFree(nodeid, name);
    const reply = await this.kernel.ask((fs, ctx) => fs.mkdir(ctx, nodeid, Buffer.from(name), 0o755));
    this.root.entries.set(name, new ProgramDirectory());
    this.kernel.told(nodeid, name, reply);
  }

  async #rmdir(): Promise<void> {
    const nodeid = await this.node(ROOT, this.name);
    const [name, object] = this.entry({ directory: this.root, nodeid }, 'directory') ?? [];
    if (name === undefined) return;
    const { entries } = object as ProgramDirectory;
    this.doing = `rmdir ${name}`;
    await this.node(nodeid, name);
    const asking = this.kernel.ask((fs, ctx) => fs.rmdir(ctx, nodeid, Buffer.from(name)));
    const errno = (await asking.then(() => 0, errnoOf)) ?? -1;
    // A file that is open and has no name may be in it.
    const mayBeFull = entries.size > 0 || this.open.length > 0;
    if (errno !== 0 && !(errno === 39 && mayBeFull)) throw new Error(`errno ${errno}`);
    if (errno === 0 && entries.size > 0) throw new Error('it was not empty');
    if (errno !== 0) return;
    this.root.entries.delete(name);
    this.kernel.unlinked(nodeid, name);
  }

  async #unlink(): Promise<void> {
    const place = await this.place();
    const [name] = this.entry(place, this.chance.often(0.8) ? 'file' : 'symlink') ?? [];
    if (name === undefined) return;
    this.doing = `unlink ${name}`;
    await this.node(place.nodeid, name);
    await this.kernel.ask((fs, ctx) => fs.unlink(ctx, place.nodeid, Buffer.from(name)));
    place.directory.entries.delete(name);
    this.kernel.unlinked(place.nodeid, name);
  }

  async #rename(): Promise<void> {
    const from = await this.place();
    const [name, object] = this.entry(from, this.chance.often(0.8) ? 'file' : 'symlink') ?? [];
    if (name === undefined || object === undefined) return;
    const to = await this.place();
    const newName = this.chance.of(NAMES);
    const over = to.directory.entries.get(newName);
    this.doing = `rename ${name} to ${newName}`;
    await this.node(from.nodeid, name);
    if (over === undefined) await this.mustBeFree(to.nodeid, newName);
    else await this.node(to.nodeid, newName);
    if (over === object) return;
    await this.kernel.ask((fs, ctx) =>
      fs.rename(
        ctx,
        { parent: from.nodeid, name: Buffer.from(name) },
        { parent: to.nodeid, name: Buffer.from(newName) },
        0,
      ),
    );
    from.directory.entries.delete(name);
    to.directory.entries.set(newName, object);
    this.kernel.renamed(from.nodeid, name, to.nodeid, newName);
  }

  async #link(): Promise<void> {
    const place = await this.place();
    const [name, object] = this.entry(place, 'file') ?? [];
    const newName = this.freeName(place);
    if (name === undefined || newName === undefined || object === undefined) return;
    this.doing = `link ${name} to ${newName}`;
    const nodeid = await this.node(place.nodeid, name);
    await this.mustBeFree(place.nodeid, newName);
    const reply = await this.kernel.ask((fs, ctx) =>
      fs.link(ctx, nodeid, place.nodeid, Buffer.from(newName)),
    );
    if (reply.nodeid !== nodeid) throw new Error('the link is to another node');
    place.directory.entries.set(newName, object);
    this.kernel.told(place.nodeid, newName, reply);
  }

  async #symlink(): Promise<void> {
    const place = await this.place();
    const name = this.freeName(place);
    if (name === undefined) return;
    const target = `to-${this.chance.below(1000)}`;
    this.doing = `symlink ${name}`;
    await this.mustBeFree(place.nodeid, name);
    const reply = await this.kernel.ask((fs, ctx) =>
      fs.symlink(ctx, place.nodeid, Buffer.from(name), Buffer.from(target)),
    );
    place.directory.entries.set(name, { kind: 'symlink', target });
    this.kernel.told(place.nodeid, name, reply);
  }

  /** readdir(3) in parts. */
  async #list(): Promise<void> {
    const { nodeid, directory } = await this.place();
    this.doing = 'list';
    const { fh } = await this.kernel.ask((fs, ctx) => fs.opendir(ctx, nodeid));
    const listed: string[] = [];
    for (let offset = 0n, isMore = true; isMore; ) {
      const room = 1 + this.chance.below(3);
      const entries = await this.kernel.ask(async (fs, ctx) => {
        const sink = new PartSink(room);
        await fs.readdirplus(ctx, nodeid, fh, offset, sink);
        return sink.entries;
      });
      for (const { name, entry } of entries) {
        listed.push(name);
        if (entry !== undefined && entry.nodeid !== 0 && !/^\.\.?$/.test(name))
          this.kernel.told(nodeid, name, entry);
      }
      offset = entries.at(-1)?.offset ?? offset;
      isMore = entries.length > 0;
    }
    await this.kernel.ask((fs, ctx) => fs.releasedir(ctx, nodeid, fh));
    // One that was begun anew may give a name twice, but leaves none out.
    const names = [...new Set(listed)].filter((name) => !name.startsWith('.')).sort();
    const expected = [...directory.entries.keys()].sort();
    if (names.join() !== expected.join()) throw new Error(`listed ${names} instead of ${expected}`);
  }

  /** Each line is in the file once. */
  async #appendLine(): Promise<void> {
    const flags = O_RDWR | O_APPEND | O_SYNC;
    this.doing = 'append a line';
    const shared = await this.node(ROOT, 'shared');
    const { nodeid, fh } = await this.openPath(shared, 'log', flags);
    const one = this.opened(fh, nodeid, new ProgramFile(), flags);
    for (let i = this.chance.below(4); i >= 0; i--) {
      const line = `${this.name} ${this.#lines++}\n`;
      this.shared.lines.push(line);
      await this.send(one, 0, Buffer.from(line));
    }
    await this.flush(one);
    await this.release(one);
  }

  /** Increments a counter under a lock. */
  async #countUp(): Promise<void> {
    const flock = this.chance.often(0.5);
    this.doing = flock ? 'flock' : 'fcntl lock';
    const shared = await this.node(ROOT, 'shared');
    const { nodeid, fh } = await this.openPath(shared, flock ? 'flocked' : 'locked', O_RDWR | O_SYNC);
    const one = this.opened(fh, nodeid, new ProgramFile(), O_RDWR | O_SYNC);
    const owner = BigInt(flock ? 1_000_000 + fh : this.owner);
    const lock = (type: number) => ({
      fh,
      owner,
      flock,
      lock: { start: 0n, end: LAST_BYTE, type, pid: this.owner },
    });
    await this.kernel.ask((fs, ctx) => fs.setlk(ctx, nodeid, lock(1), true));
    const { holders } = this.shared;
    const other = holders.get(nodeid);
    if (other !== undefined) throw new Error(`${other} holds the lock as well`);
    holders.set(nodeid, this.name);
    if (this.world.manager.held.length === 0) throw new Error('the server does not know of the lock');
    const count = Number(String(await this.readAt(fh, nodeid, 0, 20, 0)));
    await this.send(one, 0, Buffer.from(String(count + 1).padStart(8, '0')));
    if (this.world.manager.held.length === 0) throw new Error('the server has lost the lock');
    this.shared.count++;
    holders.delete(nodeid);
    if (this.chance.often(0.5)) await this.kernel.ask((fs, ctx) => fs.setlk(ctx, nodeid, lock(2), false));
    await this.flush(one);
    await this.release(one);
  }
}

interface Part {
  readonly name: string;
  readonly offset: bigint;
  readonly entry: EntryReply | undefined;
}

/** Takes so many entries. */
class PartSink {
  readonly entries: Part[] = [];
  readonly #room: number;

  constructor(room: number) {
    this.#room = room;
  }

  add(name: Uint8Array, _ino: bigint, _type: number, offset: bigint): boolean {
    return this.addPlus(name, 0n, 0, offset, undefined);
  }

  addPlus(name: Uint8Array, _ino: bigint, _type: number, offset: bigint, entry: Part['entry']): boolean {
    if (this.entries.length >= this.#room) return false;
    this.entries.push({ name: Buffer.from(name).toString('latin1'), offset, entry });
    return true;
  }
}
