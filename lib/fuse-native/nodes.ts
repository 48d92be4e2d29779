/**
 * From libfuse's paths to nodes: walks names, keeps the lookup counts in balance, and knows the files that libfuse
 * believes to have hidden under another name.
 *
 * libfuse 2.9 takes a path for the file itself. While it has a file open under a path, the kernel sees one inode with
 * one page cache there, even if another client puts another file in its place. Until the file is closed, such a path is
 * refused (ESTALE).
 */
import { Errno, FuseError } from '../fuse/contract/errno.js';
import {
  type EntryReply,
  type FuseOperations,
  type NegativeEntryReply,
  type NodeId,
  type RequestContext,
  ROOT_NODEID,
} from '../fuse/contract/operations.js';
import type { LibfuseFiles } from './libfuse-files.js';
import type { NameCodec } from './path-text.js';
import type { Resolved, ResolvedParent } from './resolved.js';

/** fuse.c of libfuse 2.9, hidden_name(): the node and a counter, which never goes back. */
const HIDDEN_NAME = /^\.fuse_hidden[0-9a-f]{8}([0-9a-f]{8})$/;

export class Nodes {
  readonly #operations: FuseOperations;
  readonly #codec: NameCodec;
  readonly #files: LibfuseFiles;
  readonly #warn: (line: string) => void;
  /** By the name that libfuse made up; a directory above may be renamed. They are open, which is what holds them. */
  readonly #hidden = new Map<string, NodeId>();
  readonly #replaced = new Set<string>();
  #lastHidden = 0;

  constructor(
    operations: FuseOperations,
    codec: NameCodec,
    files: LibfuseFiles,
    warn: (line: string) => void,
  ) {
    this.#operations = operations;
    this.#codec = codec;
    this.#files = files;
    this.#warn = warn;
  }

  /** Runs `use` with the node of a path, and forgets the node afterwards. */
  async with<T>(ctx: RequestContext, path: string, use: (node: Resolved) => T | Promise<T>): Promise<T> {
    const node = await this.resolve(ctx, path);
    try {
      return await use(node);
    } finally {
      this.forget(node);
    }
  }

  /** Runs `use` with the directory that a path is in. */
  async withParent<T>(
    ctx: RequestContext,
    path: string,
    use: (place: ResolvedParent) => T | Promise<T>,
  ): Promise<T> {
    const slash = path.lastIndexOf('/');
    const name = this.#codec.bytes(path.slice(slash + 1));
    const directory = await this.#walk(ctx, path.slice(0, slash));
    try {
      return await use({ parent: directory.nodeid, name });
    } finally {
      this.forget(directory);
    }
  }

  /**
   * The node of a path; the caller has to {@link forget} it.
   * @throws FuseError ENOENT, or ESTALE while another file is open under this path.
   */
  async resolve(ctx: RequestContext, path: string): Promise<Resolved> {
    const hidden = this.#hidden.get(baseName(path));
    if (hidden !== undefined) return { nodeid: hidden, entry: undefined };
    const node = await this.#walk(ctx, path);
    const open = this.#files.nodeAt(path);
    if (open === undefined || open === node.nodeid) {
      if (this.#replaced.size > 0) this.#replaced.delete(path);
      return node;
    }
    this.forget(node);
    if (!this.#replaced.has(path)) {
      this.#replaced.add(path);
      this.#warn(
        `${JSON.stringify(path)} was replaced on the server while programs have it open here: it cannot be used ` +
          'by its name until they close it (a limit of fuse-native)',
      );
    }
    throw new FuseError(Errno.ESTALE, 'replaced while open');
  }

  /**
   * Nothing may be made under a path that libfuse still has open: it would take the new file for the old one.
   * @throws FuseError ESTALE
   */
  checkFree(path: string): void {
    if (this.#files.nodeAt(path) !== undefined) throw new FuseError(Errno.ESTALE, 'removed while open');
  }

  forget(node: Resolved): void {
    if (node.entry !== undefined) this.#operations.forget(node.nodeid, 1);
  }

  /**
   * The node that libfuse wants to hide, if this rename is that: it renames open files that are removed or
   * replaced. A program that renames a file to such a name by itself gets what it asked for.
   */
  nodeToHide(from: string, to: string): NodeId | undefined {
    const counter = HIDDEN_NAME.exec(baseName(to))?.[1];
    if (counter === undefined || directoryName(from) !== directoryName(to)) return undefined;
    if (Number.parseInt(counter, 16) <= this.#lastHidden) return undefined;
    return this.#files.nodeAt(from);
  }

  /** From now on the name that libfuse chose leads to this node. */
  hide(path: string, nodeid: NodeId): void {
    const name = baseName(path);
    this.#lastHidden = Number.parseInt(HIDDEN_NAME.exec(name)?.[1] ?? '0', 16);
    this.#hidden.set(name, nodeid);
  }

  /** libfuse removes what it hid. False: this is not such a name. */
  unhide(path: string): boolean {
    return this.#hidden.delete(baseName(path));
  }

  async #walk(ctx: RequestContext, path: string): Promise<Resolved> {
    let node: Resolved = { nodeid: ROOT_NODEID, entry: undefined };
    for (const part of path.split('/')) {
      if (part === '') continue;
      const directory = node;
      try {
        const reply = await this.#operations.lookup(ctx, directory.nodeid, this.#codec.bytes(part));
        if (!isEntry(reply)) throw new FuseError(Errno.ENOENT);
        node = { nodeid: reply.nodeid, entry: reply };
      } finally {
        this.forget(directory);
      }
    }
    return node;
  }
}

function isEntry(reply: EntryReply | NegativeEntryReply): reply is EntryReply {
  return reply.nodeid !== 0;
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function directoryName(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}
