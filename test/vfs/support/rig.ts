/** The client's parts over a fake server and a clock turned by hand: what the unit tests of lib/vfs work on. */

import type {
  CreationIntents,
  DirectorySink,
  EntryReply,
  FuseNotifier,
  RequestContext,
} from '../../../lib/fuse/contract/operations.js';
import { Permission } from '../../../lib/vfs/access/permission.js';
import type { DentryKey } from '../../../lib/vfs/cache/dentry-cache.js';
import type { Inode } from '../../../lib/vfs/cache/inode.js';
import { InodeTable } from '../../../lib/vfs/cache/inode-table.js';
import { type Caller, Credentials } from '../../../lib/vfs/caller/caller.js';
import { type ClientConfig, DEFAULT_CONFIG, type TransferLimits } from '../../../lib/vfs/config.js';
import { VfsCounters } from '../../../lib/vfs/counters.js';
import { Files } from '../../../lib/vfs/data/files.js';
import { Directories } from '../../../lib/vfs/directories/directories.js';
import { LookupStorms } from '../../../lib/vfs/directories/lookup-storms.js';
import type { CacheFolder } from '../../../lib/vfs/disk-cache/cache-folder.js';
import type { Handover } from '../../../lib/vfs/handover/handover.js';
import { ByteBudget } from '../../../lib/vfs/memory/byte-budget.js';
import { Lookup } from '../../../lib/vfs/names/lookup.js';
import { MakeRequests } from '../../../lib/vfs/names/make.js';
import { RemoveRequests } from '../../../lib/vfs/names/remove.js';
import { SillyRenames } from '../../../lib/vfs/names/silly-rename.js';
import { NfsClient } from '../../../lib/vfs/remote/nfs-client.js';
import type { RootFinder } from '../../../lib/vfs/remote/redrive.js';
import { VfsState } from '../../../lib/vfs/vfs-state.js';
import { ManualClock } from '../../rpc/support/manual-clock.js';
import { TestCancellation } from '../../rpc/support/procedures.js';
import { FakeServer } from './fake-server.js';
import { named } from './named.js';

export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_APPEND = 0o2000;
export const O_DSYNC = 0o10000;

export interface RigOptions {
  readonly config?: Partial<ClientConfig>;
  readonly limits?: Partial<TransferLimits>;
  readonly readBudget?: number;
  readonly writeBudget?: number;
  readonly maxIdle?: number;
  /** The server of another rig: another mount of the same export, or the next process of the same one. */
  readonly server?: FakeServer;
  readonly records?: Handover;
  /** Data stays there on the local disk. */
  readonly cacheFolder?: CacheFolder;
  readonly intents?: CreationIntents;
}

/** A FUSE request's context whose caller can be interrupted. */
export class TestContext extends TestCancellation implements RequestContext {
  readonly unique: number = 2;
  readonly resent: boolean = false;
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;

  constructor(uid = 1000, pid = 0) {
    super();
    this.uid = uid;
    this.gid = uid;
    this.pid = pid;
  }
}

/** Lets everything run that waits for nothing but its turn. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** The state of a promise as text: "pending", "ok", or the error's errno. */
export async function outcome(promise: Promise<unknown>): Promise<string | number> {
  let state: string | number = 'pending';
  promise.then(
    () => {
      state = 'ok';
    },
    (error: unknown) => {
      state = (error as { errno?: number }).errno ?? String(error);
    },
  );
  await settled();
  return state;
}

export class Rig {
  readonly server: FakeServer;
  readonly clock = new ManualClock();
  readonly log: string[] = [];
  /** The notifications to the kernel, in order. */
  readonly notices: string[] = [];
  readonly counters = new VfsCounters();
  readonly vfs: VfsState;
  readonly permission: Permission;
  readonly lookup: Lookup;
  readonly make: MakeRequests;
  readonly silly: SillyRenames;
  readonly remove: RemoveRequests;
  readonly files: Files;
  readonly directories: Directories;
  readonly credentials: Credentials;
  /** The answer of mountd; undefined: it refuses. */
  findRoot: RootFinder['findRoot'] = () => Promise.resolve(this.server.root.handle);
  #tid = 1;

  constructor(options: RigOptions = {}) {
    const note = (message: string): void => void this.log.push(message);
    this.server = options.server ?? new FakeServer();
    this.credentials = new Credentials({
      machineName: 'rig',
      now: () => this.clock.now(),
      groupsOf: () => [],
    });
    this.vfs = new VfsState({
      config: { ...DEFAULT_CONFIG, host: 'server', exportPath: Buffer.from('/export'), ...options.config },
      limits: { rsize: 1024, wsize: 1024, dtsize: 65_536, nameMax: 255, ...options.limits },
      nfs: new NfsClient(this.server, this.clock, this.counters),
      inodes: new InodeTable(this.server.root.handle, options.maxIdle, options.records),
      rootFinder: { findRoot: () => this.findRoot() },
      clock: this.clock,
      log: { info: note, warn: note, error: note },
      counters: this.counters,
      generation: 1,
      records: options.records,
      disk: options.cacheFolder && { folder: options.cacheFolder, port: 2049 },
      readBudget: new ByteBudget(options.readBudget ?? 1 << 20),
      writeBudget: new ByteBudget(options.writeBudget ?? 1 << 20),
    });
    this.vfs.kernel.notifier = this.#notifier();
    this.vfs.adoptRoot(this.server.tree.attributes(this.server.root), this.vfs.attributes.start());
    this.permission = new Permission(this.vfs);
    this.lookup = new Lookup(this.vfs, new LookupStorms(this.vfs), options.intents);
    this.make = new MakeRequests(this.vfs, this.lookup);
    this.silly = new SillyRenames(this.vfs);
    this.remove = new RemoveRequests(this.vfs, this.lookup, this.silly);
    this.files = new Files(this.vfs, this.permission, this.lookup, this.silly);
    this.directories = new Directories(this.vfs, this.permission, this.lookup, this.silly);
  }

  #notifier(): FuseNotifier {
    return {
      invalidateAttributes: (nodeid) => this.notices.push(`attributes ${nodeid}`) > 0,
      invalidatePages: (nodeid, offset) => {
        this.notices.push(`pages ${nodeid} ${offset}`);
        return Promise.resolve();
      },
      invalidateEntry: (parent, name) => {
        this.notices.push(`entry ${parent} ${Buffer.from(name).toString('latin1')}`);
        return Promise.resolve();
      },
      expireEntries: (parent, entries) => {
        const names = [...entries].map(({ name }) => Buffer.from(name).toString('latin1'));
        this.notices.push(`expire ${parent} ${names.sort().join(',')}`);
        return Promise.resolve();
      },
      expiresEntries: true,
    };
  }

  get root(): Inode {
    return this.vfs.inodes.root;
  }

  /** A name in a directory. */
  at(name: string, parent = this.root): DentryKey {
    return { parent, name: named(name) };
  }

  /** Somebody who asks; each is another thread unless it is said which. */
  caller(uid = 1000, tid = this.#tid++): Caller {
    return { credential: this.credentials.of(uid, uid, []), cancellation: undefined, tid };
  }

  /** Somebody who can be interrupted. */
  interruptible(): { caller: Caller; cancel: () => void } {
    const cancellation = new TestContext();
    return { caller: { ...this.caller(), cancellation }, cancel: () => cancellation.cancel() };
  }

  /** Lets time pass, with everything that falls due and follows. */
  async pass(milliseconds: number): Promise<void> {
    await settled();
    // The server's clock goes on as well.
    const { tree } = this.server;
    const nanoseconds = tree.nanoseconds + milliseconds * 1e6;
    tree.seconds += Math.floor(nanoseconds / 1e9);
    tree.nanoseconds = nanoseconds % 1e9;
    this.clock.advance(milliseconds);
    await settled();
  }

  /** Resolves a path by LOOKUPs, as a kernel does whose own dentries have run out, and which then holds what was found. */
  async walk(path: string, caller = this.caller()): Promise<Inode> {
    let inode = this.root;
    for (const name of path.split('/').filter((part) => part !== '')) {
      this.vfs.kernel.tellsName(inode, named(name), undefined, 0);
      const reply = await this.lookup.entry(inode, named(name), caller);
      if (reply.nodeid === 0) throw Object.assign(new Error(`no ${path}`), { errno: 2 });
      inode = this.vfs.inodes.get(reply.nodeid);
    }
    return inode;
  }

  /** open(2) of a path. */
  async open(
    path: string,
    flags = O_RDONLY,
    caller = this.caller(),
  ): Promise<{ inode: Inode; fh: number; keep: boolean; openFlags: number }> {
    const inode = await this.walk(path, caller);
    const { fh, openFlags } = await this.files.open(inode, flags, caller);
    return { inode, fh, keep: (openFlags & 2) !== 0, openFlags };
  }

  /** creat(2) of a path in the root. */
  async create(name: string, flags = O_RDWR, caller = this.caller()): Promise<{ inode: Inode; fh: number }> {
    const made = await this.make.create(this.root, named(name), 0o644, false, caller);
    this.vfs.replies.handOver(this.root, named(name), made.inode, made.attributes, made.entryValidMs);
    return { inode: made.inode, fh: this.files.created(made.inode, flags, caller).fh };
  }

  async read(fh: number, offset: number, size: number, caller = this.caller()): Promise<Buffer> {
    const { pieces, release } = await this.files.read(fh, offset, size, caller);
    const data = Buffer.concat(pieces);
    release();
    return data;
  }

  write(
    fh: number,
    offset: number,
    data: string | Uint8Array,
    caller?: Caller,
    { fromPageCache = false, direct = false } = {},
  ): Promise<number> {
    const request = { offset, data: Buffer.from(data), flags: 0, fromPageCache, direct };
    return this.files.write(fh, request, caller?.cancellation);
  }

  /** readdir(3) to the end; `room` is how many entries one request takes. */
  async list(fh: number, plus = true, room = 1000): Promise<Listed[]> {
    const all: Listed[] = [];
    let offset = 0n;
    for (;;) {
      const before = all.length;
      const sink = new ListSink(all, room);
      await this.directories.read(fh, offset, sink, plus, this.caller());
      offset = sink.offset ?? offset;
      if (all.length === before) return all;
    }
  }

  /** At most `room` entries of a directory from `offset` on, in one request, and where the next one goes on. */
  async listSome(fh: number, offset: bigint, room: number): Promise<{ names: string[]; offset: bigint }> {
    const all: Listed[] = [];
    const sink = new ListSink(all, room);
    await this.directories.read(fh, offset, sink, true, this.caller());
    return { names: all.map(({ name }) => name), offset: sink.offset ?? offset };
  }

  /** The names in a directory without "." and "..", sorted. */
  async names_(path: string): Promise<string[]> {
    const inode = await this.walk(path);
    const { fh } = await this.directories.open(inode, this.caller());
    const listed = await this.list(fh);
    this.directories.release(fh);
    return listed
      .map(({ name }) => name)
      .filter((name) => name !== '.' && name !== '..')
      .sort();
  }
}

export interface Listed {
  readonly name: string;
  readonly ino: bigint;
  readonly type: number;
  readonly entry: EntryReply | undefined;
}

class ListSink implements DirectorySink {
  readonly #all: Listed[];
  #room: number;
  offset: bigint | undefined;

  constructor(all: Listed[], room: number) {
    this.#all = all;
    this.#room = room;
  }

  add(name: Uint8Array, ino: bigint, type: number, offset: bigint): boolean {
    return this.addPlus(name, ino, type, offset, undefined);
  }

  addPlus(
    name: Uint8Array,
    ino: bigint,
    type: number,
    offset: bigint,
    entry: EntryReply | undefined,
  ): boolean {
    if (this.#room-- <= 0) return false;
    this.#all.push({ name: Buffer.from(name).toString('latin1'), ino, type, entry });
    this.offset = offset;
    return true;
  }
}
