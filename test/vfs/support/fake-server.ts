/** An NFS server in memory, in the place of an RPC connection: it answers the procedures. */

import {
  Access,
  type CommitArguments,
  type CreateArguments,
  CreateMode,
  compareTime,
  type DirectoryName,
  type Fattr3,
  type FileHandle,
  type FileName,
  FileType,
  type LinkArguments,
  type MkdirArguments,
  type MknodArguments,
  type ReadArguments,
  type ReaddirArguments,
  type ReaddirplusArguments,
  type RenameArguments,
  type Sattr3,
  type SetattrArguments,
  StableHow,
  Status,
  type SymlinkArguments,
  type WccData,
  type WriteArguments,
} from '../../../lib/programs/nfs3/index.js';
import { FakeCaller } from './fake-caller.js';
import { type FakeNode, FakeTree } from './fake-tree.js';
import { named } from './named.js';

type Directory = { directory: FileHandle };

export class FakeServer extends FakeCaller {
  readonly tree = new FakeTree();
  /** The attributes before and after a change that the server sends. */
  wcc: 'full' | 'no-before' | 'none' = 'full';
  /** Whether CREATE and the like answer the handle and the attributes. */
  makeAnswers: 'full' | 'no-attributes' | 'nothing' = 'full';
  exclusiveCreate = true;
  readdirplus = true;
  /** Entries without handle and attributes in READDIRPLUS. */
  bareEntries = new Set<string>();
  entriesPerReply = 100;
  /** Short READs and WRITEs. */
  mostRead = Number.POSITIVE_INFINITY;
  mostWrite = Number.POSITIVE_INFINITY;
  verifier = 'verifier';
  #restarts = 0;
  squash = false;

  get root(): FakeNode {
    return this.tree.root;
  }

  /** Loses what no COMMIT covered. */
  restart(): void {
    this.verifier = `verifie${++this.#restarts}`;
    const visit = (node: FakeNode): void => {
      node.data = Buffer.from(node.stable);
      for (const child of node.children.values()) if (child !== node) visit(child);
    };
    visit(this.root);
  }

  #node(handle: FileHandle): FakeNode | undefined {
    return this.tree.byHandle(handle);
  }

  /** Runs a change of `node` and says what it looked like before and after. */
  #around(node: FakeNode, change: () => Status): { status: Status; wcc: WccData } {
    const before = this.tree.wcc(node);
    const status = change();
    return {
      status,
      wcc: {
        before: this.wcc === 'full' ? before : undefined,
        after: this.wcc === 'none' ? undefined : this.tree.attributes(node),
      },
    };
  }

  #allowed(node: FakeNode, uid: number): number {
    if (uid === 0 && !this.squash) return 0x3f;
    const shift = uid === node.uid ? 6 : 0;
    const bits = (node.mode >> shift) & 7;
    const isDirectory = node.type === FileType.DIR;
    let granted = 0;
    if (bits & 4) granted |= Access.READ;
    if (bits & 2) granted |= Access.MODIFY | Access.EXTEND | (isDirectory ? Access.DELETE : 0);
    if (bits & 1) granted |= isDirectory ? Access.LOOKUP : Access.EXECUTE;
    return granted;
  }

  do_GETATTR({ object }: { object: FileHandle }) {
    const node = this.#node(object);
    if (node === undefined) return { status: Status.STALE };
    return { status: Status.OK, attributes: this.tree.attributes(node) };
  }

  do_ACCESS({ object, access }: { object: FileHandle; access: number }, uid: number) {
    const node = this.#node(object);
    if (node === undefined) return this.failure('ACCESS', Status.STALE);
    const attributes = this.tree.attributes(node);
    return { status: Status.OK, attributes, access: access & this.#allowed(node, uid) };
  }

  #set(node: FakeNode, changes: Sattr3): void {
    if (changes.mode !== undefined) node.mode = changes.mode;
    if (changes.uid !== undefined) node.uid = changes.uid;
    if (changes.gid !== undefined) node.gid = changes.gid;
    if (changes.size !== undefined) {
      const size = Number(changes.size);
      const cut = (data: Buffer): Buffer => Buffer.concat([data.subarray(0, size)], size);
      node.data = cut(node.data);
      node.stable = cut(node.stable);
      this.tree.modified(node);
    } else this.tree.changed(node);
    if (changes.mtime === 'server') node.mtime = this.tree.now();
    else if (changes.mtime !== undefined) node.mtime = changes.mtime;
  }

  do_SETATTR({ object, attributes, guard }: SetattrArguments) {
    const node = this.#node(object);
    if (node === undefined) return this.failure('SETATTR', Status.STALE);
    return this.#around(node, () => {
      if (guard !== undefined && compareTime(guard, node.ctime) !== 0) return Status.NOT_SYNC;
      this.#set(node, attributes);
      return Status.OK;
    });
  }

  do_READLINK({ symlink }: { symlink: FileHandle }) {
    const node = this.#node(symlink);
    if (node === undefined) return this.failure('READLINK', Status.STALE);
    return { status: Status.OK, attributes: this.tree.attributes(node), target: node.target };
  }

  do_READ({ file, offset, count }: ReadArguments) {
    const node = this.#node(file);
    if (node === undefined) return this.failure('READ', Status.STALE);
    const data = Buffer.from(node.data.subarray(offset, offset + Math.min(count, this.mostRead)));
    const eof = offset + data.length >= node.data.length;
    return { status: Status.OK, attributes: this.tree.attributes(node), eof, data };
  }

  do_WRITE({ file, offset, stable, data }: WriteArguments) {
    const node = this.#node(file);
    if (node === undefined) return this.failure('WRITE', Status.STALE);
    const taken = data.subarray(0, this.mostWrite);
    const put = (old: Buffer): Buffer => {
      const next = Buffer.alloc(Math.max(old.length, offset + taken.length));
      old.copy(next);
      next.set(taken, offset);
      return next;
    };
    const done = this.#around(node, () => {
      node.data = put(node.data);
      if (stable !== StableHow.UNSTABLE) node.stable = put(node.stable);
      this.tree.modified(node);
      return Status.OK;
    });
    return { ...done, count: taken.length, committed: stable, verifier: this.verifier };
  }

  do_COMMIT({ file }: CommitArguments) {
    const node = this.#node(file);
    if (node === undefined) return this.failure('COMMIT', Status.STALE);
    const done = this.#around(node, () => {
      node.stable = Buffer.from(node.data);
      return Status.OK;
    });
    return { ...done, verifier: this.verifier };
  }

  do_LOOKUP({ directory, name }: DirectoryName) {
    const parent = this.#node(directory);
    if (parent === undefined) return this.failure('LOOKUP', Status.STALE);
    const directoryAttributes = this.tree.attributes(parent);
    const node = parent.children.get(name);
    if (node === undefined) return { status: Status.NOENT, directoryAttributes };
    const attributes = this.tree.attributes(node);
    return { status: Status.OK, object: node.handle, attributes, directoryAttributes };
  }

  #make(directory: FileHandle, name: FileName, make: () => FakeNode | Status) {
    const parent = this.#node(directory);
    if (parent === undefined) return this.failure('CREATE', Status.STALE);
    let made: FakeNode | undefined;
    const { status, wcc } = this.#around(parent, () => {
      const existing = parent.children.get(name);
      const result = existing === undefined ? make() : Status.EXIST;
      if (typeof result === 'number') return result;
      made = result;
      this.tree.attach(parent, name, result);
      return Status.OK;
    });
    return this.#made(status, made, wcc);
  }

  #made(status: Status, node: FakeNode | undefined, directoryWcc: WccData) {
    if (node === undefined) return { status, directoryWcc };
    const object = this.makeAnswers === 'nothing' ? undefined : node.handle;
    const attributes: Fattr3 | undefined =
      this.makeAnswers === 'full' ? this.tree.attributes(node) : undefined;
    return { status, object, attributes, directoryWcc };
  }

  do_CREATE({ where, how }: CreateArguments, uid: number) {
    const parent = this.#node(where.directory);
    const existing = parent?.children.get(where.name);
    const verifier = how.mode === CreateMode.EXCLUSIVE ? text(how.verifier) : undefined;
    if (verifier !== undefined && !this.exclusiveCreate) return this.failure('CREATE', Status.NOTSUPP);
    if (parent !== undefined && existing !== undefined) {
      const again = verifier !== undefined && existing.exclusive === verifier;
      if (again || how.mode === CreateMode.UNCHECKED) {
        const { wcc } = this.#around(parent, () => Status.OK);
        if ('attributes' in how && how.attributes.size !== undefined) {
          this.#set(existing, { size: how.attributes.size });
        }
        return this.#made(Status.OK, existing, wcc);
      }
    }
    return this.#make(where.directory, where.name, () => {
      const node = this.tree.make(FileType.REG, 0);
      if (uid === 0) node.uid = this.squash ? 65_534 : 0;
      node.exclusive = verifier;
      if ('attributes' in how) this.#set(node, how.attributes);
      return node;
    });
  }

  do_MKDIR({ where, attributes }: MkdirArguments) {
    return this.#make(where.directory, where.name, () =>
      this.tree.make(FileType.DIR, attributes.mode ?? 0o755),
    );
  }

  do_SYMLINK({ where, target }: SymlinkArguments) {
    return this.#make(where.directory, where.name, () => {
      const node = this.tree.make(FileType.LNK, 0o777);
      node.target = Buffer.from(target);
      return node;
    });
  }

  do_MKNOD({ where, what }: MknodArguments) {
    return this.#make(where.directory, where.name, () => this.tree.make(what.type, 0o600));
  }

  #remove({ directory, name }: DirectoryName, isDirectory: boolean) {
    const parent = this.#node(directory);
    if (parent === undefined) return this.failure('REMOVE', Status.STALE);
    return this.#around(parent, () => {
      const node = parent.children.get(name);
      if (node === undefined) return Status.NOENT;
      if (!isDirectory && node.type === FileType.DIR) return Status.ISDIR;
      if (isDirectory && node.type !== FileType.DIR) return Status.NOTDIR;
      if (node.children.size > 0) return Status.NOTEMPTY;
      this.tree.detach(parent, name);
      return Status.OK;
    });
  }

  do_REMOVE(where: DirectoryName) {
    return this.#remove(where, false);
  }

  do_RMDIR(where: DirectoryName) {
    return this.#remove(where, true);
  }

  do_RENAME({ from, to }: RenameArguments) {
    const source = this.#node(from.directory);
    const target = this.#node(to.directory);
    if (source === undefined || target === undefined) return this.failure('RENAME', Status.STALE);
    let toWcc: WccData = { before: undefined, after: undefined };
    const { status, wcc } = this.#around(source, () => {
      const inner = this.#around(target, () => {
        const node = source.children.get(from.name);
        if (node === undefined) return Status.NOENT;
        const over = target.children.get(to.name);
        if (over === node) return Status.OK;
        if (over !== undefined && over.children.size > 0) return Status.NOTEMPTY;
        if (over !== undefined) this.tree.detach(target, to.name);
        source.children.delete(from.name);
        if (node.type === FileType.DIR) source.nlink--;
        this.tree.modified(source);
        this.tree.attach(target, to.name, node);
        this.tree.changed(node);
        return Status.OK;
      });
      toWcc = inner.wcc;
      return inner.status;
    });
    return { status, fromWcc: wcc, toWcc };
  }

  do_LINK({ file, link }: LinkArguments) {
    const node = this.#node(file);
    const parent = this.#node(link.directory);
    if (node === undefined || parent === undefined) return this.failure('LINK', Status.STALE);
    const { status, wcc } = this.#around(parent, () => {
      if (parent.children.has(link.name)) return Status.EXIST;
      node.nlink++;
      this.tree.attach(parent, link.name, node);
      this.tree.changed(node);
      return Status.OK;
    });
    return { status, attributes: this.tree.attributes(node), directoryWcc: wcc };
  }

  /** Cookies are large and without order, as those of some servers are. */
  #cookie(node: FakeNode): bigint {
    return BigInt.asUintN(64, (node.fileid + 1n) * 0x9e37_79b9_7f4a_7c15n) | 1n;
  }

  #entries({ directory, cookie }: Directory & { cookie: bigint }) {
    const parent = this.#node(directory);
    if (parent === undefined) return undefined;
    const all = [...parent.children].map(([name, node]) => ({ name, node }));
    const dots = [
      { name: '.', node: parent },
      { name: '..', node: parent.parent ?? parent },
    ];
    const listed = [...dots, ...all].map(({ name, node }, index) => ({
      name,
      node,
      cookie: index < 2 ? BigInt(index + 1) : this.#cookie(node),
    }));
    const from = cookie === 0n ? 0 : listed.findIndex((entry) => entry.cookie === cookie) + 1;
    const missing = cookie !== 0n && from === 0;
    const entries = listed.slice(from, from + this.entriesPerReply);
    return { parent, missing, entries, eof: from + entries.length >= listed.length };
  }

  #listing(args: Directory & { cookie: bigint }, plus: boolean) {
    const found = this.#entries(args);
    if (found === undefined) return this.failure('READDIR', Status.STALE);
    if (found.missing) return this.failure('READDIR', Status.BAD_COOKIE);
    const cookieVerifier = Buffer.from('cookies!');
    const entries = found.entries.map(({ name, node, cookie }) => {
      const bare = this.bareEntries.has(name);
      const base = { name: named(name), fileid: node.fileid, cookie };
      if (!plus) return base;
      return {
        ...base,
        handle: bare ? undefined : node.handle,
        attributes: bare ? undefined : this.tree.attributes(node),
      };
    });
    return {
      status: Status.OK,
      directoryAttributes: this.tree.attributes(found.parent),
      cookieVerifier,
      entries,
      eof: found.eof,
    };
  }

  do_READDIR(args: ReaddirArguments) {
    return this.#listing(args, false);
  }

  do_READDIRPLUS(args: ReaddirplusArguments) {
    if (!this.readdirplus) return this.failure('READDIRPLUS', Status.NOTSUPP);
    return this.#listing(args, true);
  }

  do_FSSTAT({ object }: { object: FileHandle }) {
    const node = this.#node(object);
    if (node === undefined) return this.failure('FSSTAT', Status.STALE);
    return {
      status: Status.OK,
      attributes: this.tree.attributes(node),
      totalBytes: 4096n * 1000n,
      freeBytes: 4096n * 600n,
      availableBytes: 4096n * 500n,
      totalFiles: 100n,
      freeFiles: 50n,
      availableFiles: 50n,
      invariantSeconds: 0,
    };
  }
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}
