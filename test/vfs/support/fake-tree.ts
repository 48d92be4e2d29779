/** The objects that the fake NFS server serves: a tree in memory, with a clock whose ticks a test chooses. */
import {
  type Fattr3,
  type FileHandle,
  FileType,
  type NfsTime,
  type WccAttributes,
} from '../../../lib/programs/nfs3/index.js';

export interface FakeNode {
  readonly fileid: bigint;
  readonly type: FileType;
  handle: FileHandle;
  mode: number;
  uid: number;
  gid: number;
  nlink: number;
  fsid: bigint;
  /** The content that a reader gets. */
  data: Buffer;
  /** The content that survives a restart of the server, without UNSTABLE data. */
  stable: Buffer;
  target: Buffer;
  readonly children: Map<string, FakeNode>;
  parent: FakeNode | undefined;
  mtime: NfsTime;
  ctime: NfsTime;
  exclusive: string | undefined;
}

export function makeHandle(text: string): FileHandle {
  return text as FileHandle;
}

export class FakeTree {
  readonly root: FakeNode;
  /** Seconds since the epoch, and the nanoseconds that every change of the clock adds. */
  seconds = 1_000_000;
  nanoseconds = 1;
  /** The size in bytes that every directory reports. */
  directorySize = 4096;
  /** The step of the clock with each change; 0: it stands still, as within one tick of a real one. */
  tick = 1_000;
  /** Part of every handle: counts re-exports. */
  epoch = 0;
  fsid = 7n;
  #nextFileid = 100n;
  readonly #byHandle = new Map<string, FakeNode>();

  constructor() {
    this.root = this.make(FileType.DIR, 0o777);
  }

  now(): NfsTime {
    return { seconds: this.seconds, nanoseconds: this.nanoseconds };
  }

  make(type: FileType, mode: number, fileid = this.#nextFileid++): FakeNode {
    const node: FakeNode = {
      fileid,
      type,
      handle: makeHandle(''),
      mode,
      uid: 1000,
      gid: 1000,
      nlink: type === FileType.DIR ? 2 : 1,
      fsid: this.fsid,
      data: Buffer.alloc(0),
      stable: Buffer.alloc(0),
      target: Buffer.alloc(0),
      children: new Map(),
      parent: undefined,
      mtime: this.now(),
      ctime: this.now(),
      exclusive: undefined,
    };
    this.#give(node);
    return node;
  }

  #give(node: FakeNode): void {
    this.#byHandle.delete(node.handle);
    // Never the same bytes twice, not even where a fileid is used again.
    node.handle = makeHandle(`h${this.epoch}:${node.fileid}:${this.#serial++}`);
    this.#byHandle.set(node.handle, node);
  }
  #serial = 0;

  byHandle(handle: FileHandle): FakeNode | undefined {
    return this.#byHandle.get(handle);
  }

  /** The handle answers for this node from now on, whatever it was before. */
  assignHandle(handle: FileHandle, node: FakeNode): void {
    this.#byHandle.set(handle, node);
  }

  /** A restart that gives everything new handles. */
  reexport(): void {
    this.epoch++;
    const all = new Set(this.#byHandle.values());
    this.#byHandle.clear();
    for (const node of all) this.#give(node);
  }

  /** One node, and nothing else, gets a new handle. */
  rehandle(node: FakeNode): void {
    this.#give(node);
  }

  #tick(): void {
    this.nanoseconds += this.tick;
    this.seconds += Math.floor(this.nanoseconds / 1e9);
    this.nanoseconds %= 1e9;
  }

  /** The content changed. */
  modified(node: FakeNode): void {
    this.#tick();
    node.mtime = this.now();
    node.ctime = this.now();
  }

  /** Anything else changed: mode, owner, names. */
  changed(node: FakeNode): void {
    this.#tick();
    node.ctime = this.now();
  }

  attributes(node: FakeNode): Fattr3 {
    return {
      type: node.type,
      mode: node.mode,
      nlink: node.nlink,
      uid: node.uid,
      gid: node.gid,
      size: BigInt(node.type === FileType.DIR ? this.directorySize : node.data.length),
      used: BigInt(node.data.length),
      rdevMajor: 0,
      rdevMinor: 0,
      fsid: node.fsid,
      fileid: node.fileid,
      atime: node.mtime,
      mtime: node.mtime,
      ctime: node.ctime,
    };
  }

  wcc(node: FakeNode): WccAttributes {
    const { size, mtime, ctime } = this.attributes(node);
    return { size, mtime, ctime };
  }

  /** The node of a path like "a/b"; "" is the root. Throws where there is none. */
  at(path: string): FakeNode {
    let node = this.root;
    for (const name of path.split('/').filter((part) => part !== '')) {
      const next = node.children.get(name);
      if (next === undefined) throw new Error(`the fake server has no ${path}`);
      node = next;
    }
    return node;
  }

  has(path: string): boolean {
    try {
      this.at(path);
      return true;
    } catch {
      return false;
    }
  }

  attach(parent: FakeNode, name: string, node: FakeNode): void {
    parent.children.set(name, node);
    if (node.type === FileType.DIR) {
      node.parent = parent;
      parent.nlink++;
    }
    this.modified(parent);
  }

  detach(parent: FakeNode, name: string): FakeNode {
    const node = parent.children.get(name);
    if (node === undefined) throw new Error(`the fake server has no ${name}`);
    parent.children.delete(name);
    if (node.type === FileType.DIR) parent.nlink--;
    else node.nlink--;
    this.changed(node);
    this.modified(parent);
    if (node.type === FileType.DIR || node.nlink === 0) this.#byHandle.delete(node.handle);
    return node;
  }

  #split(path: string): [FakeNode, string] {
    const cut = path.lastIndexOf('/');
    return [this.at(cut < 0 ? '' : path.slice(0, cut)), path.slice(cut + 1)];
  }

  // The following changes happen behind the client's back, as by another client.

  file(path: string, content: string | Buffer = '', mode = 0o644): FakeNode {
    const [parent, name] = this.#split(path);
    const node = this.make(FileType.REG, mode);
    node.data = Buffer.from(content);
    node.stable = Buffer.from(node.data);
    this.attach(parent, name, node);
    return node;
  }

  directory(path: string, mode = 0o755): FakeNode {
    const [parent, name] = this.#split(path);
    const node = this.make(FileType.DIR, mode);
    this.attach(parent, name, node);
    return node;
  }

  symlink(path: string, target: string): FakeNode {
    const [parent, name] = this.#split(path);
    const node = this.make(FileType.LNK, 0o777);
    node.target = Buffer.from(target);
    this.attach(parent, name, node);
    return node;
  }

  write(path: string, content: string | Buffer): void {
    const node = this.at(path);
    node.data = Buffer.from(content);
    node.stable = Buffer.from(node.data);
    this.modified(node);
  }

  remove(path: string): FakeNode {
    const [parent, name] = this.#split(path);
    return this.detach(parent, name);
  }

  rename(from: string, to: string): void {
    const [fromParent, fromName] = this.#split(from);
    const [toParent, toName] = this.#split(to);
    const node = this.at(from);
    if (toParent.children.has(toName)) this.detach(toParent, toName);
    fromParent.children.delete(fromName);
    this.modified(fromParent);
    this.attach(toParent, toName, node);
    this.changed(node);
  }

  chmod(path: string, mode: number): void {
    const node = this.at(path);
    node.mode = mode;
    this.changed(node);
  }
}
