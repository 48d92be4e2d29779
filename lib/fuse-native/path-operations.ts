/**
 * The callbacks of libfuse that concern names and attributes, by path, answered by the file system. Files are in
 * file-operations.ts.
 */
import { Errno, FuseError } from '../fuse/contract/errno.js';
import type {
  AttributesReply,
  DirectorySink,
  EntryReply,
  FuseAttributes,
  FuseOperations,
  FuseTime,
  RequestContext,
  SetAttributes,
} from '../fuse/contract/operations.js';
import { encodeEntry, encodeStat, encodeStatfs, milliseconds } from './encode.js';
import type { InodeNumbers } from './inode-numbers.js';
import type { LibfuseFiles } from './libfuse-files.js';
import type { Nodes } from './nodes.js';
import type { NameCodec } from './path-text.js';
import type { Resolved } from './resolved.js';

/** The things that the operations of one mount share. */
export interface Serving {
  readonly operations: FuseOperations;
  /** The process that mounted: fuse-native does not say who the caller is. */
  readonly ctx: RequestContext;
  readonly nodes: Nodes;
  readonly files: LibfuseFiles;
  readonly codec: NameCodec;
  readonly inodeNumbers: InodeNumbers;
  readonly warn: (line: string) => void;
}

export interface NativeListing {
  readonly names: string[];
  readonly stats: Uint32Array[];
}

/** chown(2): leave it as it is. */
const UNCHANGED_ID = 0xffff_ffff;
/** libfuse's buffer for a link target has PATH_MAX + 1 bytes, the last one for NUL. */
const MAX_TARGET_BYTES = 4096;
const R_OK = 4;
const NOTHING: SetAttributes = {
  mode: undefined,
  uid: undefined,
  gid: undefined,
  size: undefined,
  atime: undefined,
  mtime: undefined,
  fh: undefined,
};

export class PathOperations {
  readonly #serving: Serving;

  constructor(serving: Serving) {
    this.#serving = serving;
  }

  getattr(path: string): Promise<Uint32Array> {
    return this.#with(path, async (node) => this.stat(await this.#attributes(node)));
  }

  stat(attributes: FuseAttributes): Uint32Array {
    return encodeStat(attributes, this.#serving.inodeNumbers.of(attributes.ino));
  }

  statfs(path: string): Promise<Uint32Array> {
    const { operations, ctx } = this.#serving;
    return this.#with(path, async ({ nodeid }) => encodeStatfs(await operations.statfs(ctx, nodeid)));
  }

  access(path: string, mask: number): Promise<void> {
    const { operations, ctx } = this.#serving;
    return this.#with(path, ({ nodeid }) => operations.access(ctx, nodeid, mask));
  }

  opendir(path: string): Promise<void> {
    return this.access(path, R_OK);
  }

  chmod(path: string, mode: number): Promise<void> {
    return this.#change(path, { ...NOTHING, mode: mode & 0o7777 });
  }

  chown(path: string, uid: number, gid: number): Promise<void> {
    const changed = (id: number) => (id === UNCHANGED_ID ? undefined : id);
    return this.#change(path, { ...NOTHING, uid: changed(uid), gid: changed(gid) });
  }

  truncate(path: string, size: number): Promise<void> {
    return this.#change(path, { ...NOTHING, size: BigInt(size) });
  }

  /**
   * Sets both times, which libfuse passes on only together. If a time equals that of the file in whole milliseconds,
   * the program has got it from stat(2): the file then keeps its time to the nanosecond.
   */
  utimens(path: string, atimeMs: number, mtimeMs: number): Promise<void> {
    const { operations, ctx } = this.#serving;
    return this.#with(path, async (node) => {
      const now = await this.#attributes(node);
      const atime = sameOrNew(now.atime, atimeMs);
      const mtime = sameOrNew(now.mtime, mtimeMs);
      await operations.setattr(ctx, node.nodeid, { ...NOTHING, atime, mtime });
    });
  }

  readlink(path: string): Promise<string> {
    const { operations, ctx, codec, warn } = this.#serving;
    return this.#with(path, async ({ nodeid }) => {
      const text = codec.text(await operations.readlink(ctx, nodeid));
      if (text === undefined) {
        warn(`the target of ${JSON.stringify(path)} is not UTF-8, and fuse-native cannot carry it: EILSEQ`);
        throw new FuseError(Errno.EILSEQ);
      }
      if (Buffer.byteLength(text) > MAX_TARGET_BYTES) throw new FuseError(Errno.ENAMETOOLONG);
      return text;
    });
  }

  /** Reads the whole directory: libfuse 2.9 keeps it until the directory is closed. */
  readdir(path: string): Promise<NativeListing> {
    const { operations, ctx } = this.#serving;
    return this.#with(path, async ({ nodeid }) => {
      const { fh } = await operations.opendir(ctx, nodeid, 0);
      try {
        return await this.#list(nodeid, fh, path);
      } finally {
        await operations.releasedir(ctx, nodeid, fh);
      }
    });
  }

  async #list(nodeid: number, fh: number, path: string): Promise<NativeListing> {
    const { operations, ctx, codec, inodeNumbers, warn } = this.#serving;
    const listing: NativeListing = { names: [], stats: [] };
    let position = 0n;
    const take = (bytes: Uint8Array, ino: bigint, type: number, offset: bigint): boolean => {
      position = offset;
      const text = codec.text(bytes);
      if (text === undefined) {
        const shown = JSON.stringify(Buffer.from(bytes).toString('latin1'));
        warn(`a name in ${JSON.stringify(path)} is not UTF-8, and fuse-native cannot show it: ${shown}`);
        return true;
      }
      listing.names.push(text);
      listing.stats.push(encodeEntry(inodeNumbers.of(ino), type));
      return true;
    };
    const sink: DirectorySink = {
      add: take,
      // The attributes are useful: the kernel asks for those of each entry next. References are not wanted.
      addPlus(bytes, ino, type, offset, entry: EntryReply | undefined) {
        if (entry !== undefined && entry.nodeid !== 0) operations.forget(entry.nodeid, 1);
        return take(bytes, ino, type, offset);
      },
    };
    for (let before = -1n; before !== position; ) {
      before = position;
      await operations.readdirplus(ctx, nodeid, fh, position, sink);
    }
    return listing;
  }

  mknod(path: string, mode: number, device: number): Promise<void> {
    const { operations, ctx } = this.#serving;
    return this.#make(path, (parent, name) => operations.mknod(ctx, parent, name, mode, device));
  }

  mkdir(path: string, mode: number): Promise<void> {
    const { operations, ctx } = this.#serving;
    return this.#make(path, (parent, name) => operations.mkdir(ctx, parent, name, mode));
  }

  symlink(target: string, path: string): Promise<void> {
    const { operations, ctx, codec } = this.#serving;
    return this.#make(path, (parent, name) => operations.symlink(ctx, parent, name, codec.bytes(target)));
  }

  link(from: string, to: string): Promise<void> {
    const { operations, ctx } = this.#serving;
    return this.#with(from, ({ nodeid }) =>
      this.#make(to, (parent, name) => operations.link(ctx, nodeid, parent, name)),
    );
  }

  unlink(path: string): Promise<void> {
    const { operations, ctx, nodes } = this.#serving;
    if (nodes.unhide(path)) return Promise.resolve();
    return nodes.withParent(ctx, path, ({ parent, name }) => operations.unlink(ctx, parent, name));
  }

  rmdir(path: string): Promise<void> {
    const { operations, ctx, nodes } = this.#serving;
    return nodes.withParent(ctx, path, ({ parent, name }) => operations.rmdir(ctx, parent, name));
  }

  async rename(from: string, to: string): Promise<void> {
    const { operations, ctx, nodes, files } = this.#serving;
    const hidden = nodes.nodeToHide(from, to);
    if (hidden !== undefined) {
      await this.#removeOpen(from);
      nodes.hide(to, hidden);
    } else {
      await nodes.withParent(ctx, from, (source) =>
        nodes.withParent(ctx, to, (target) => operations.rename(ctx, source, target, 0)),
      );
    }
    files.renamed(from, to);
  }

  /**
   * libfuse renames an open file that is removed, and would leave `.fuse_hidden…` on the server. The file system
   * removes open files in its own way (`.nfs…`), so it is told what the program meant.
   */
  async #removeOpen(path: string): Promise<void> {
    try {
      await this.unlink(path);
    } catch (error) {
      // Another client has removed it first. Report success, so that libfuse forgets the name.
      if (!(error instanceof FuseError) || error.errno !== Errno.ENOENT) throw error;
    }
  }

  async #make(
    path: string,
    make: (parent: number, name: Buffer) => EntryReply | Promise<EntryReply>,
  ): Promise<void> {
    const { operations, ctx, nodes } = this.#serving;
    nodes.checkFree(path);
    const entry = await nodes.withParent(ctx, path, ({ parent, name }) => make(parent, name));
    operations.forget(entry.nodeid, 1);
  }

  #change(path: string, changes: SetAttributes): Promise<void> {
    const { operations, ctx } = this.#serving;
    return this.#with(path, async ({ nodeid }) => {
      await operations.setattr(ctx, nodeid, changes);
    });
  }

  async #attributes({ nodeid, entry }: Resolved): Promise<FuseAttributes> {
    const { operations, ctx } = this.#serving;
    const reply: AttributesReply =
      entry !== undefined && entry.attrValidMs > 0 ? entry : await operations.getattr(ctx, nodeid, undefined);
    return reply.attributes;
  }

  #with<T>(path: string, use: (node: Resolved) => T | Promise<T>): Promise<T> {
    const { nodes, ctx } = this.#serving;
    return nodes.with(ctx, path, use);
  }
}

function sameOrNew(known: FuseTime, wantedMs: number): FuseTime {
  if (milliseconds(known) === wantedMs) return known;
  const seconds = Math.floor(wantedMs / 1000);
  return { seconds, nanoseconds: (wantedMs - seconds * 1000) * 1e6 };
}
