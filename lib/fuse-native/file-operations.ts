/** The callbacks of libfuse that concern open files, answered by the file system. */
import type { RequestContext } from '../fuse/contract/operations.js';
import type { NativeRequest } from './binding.js';
import type { LibfuseFile } from './libfuse-files.js';
import { applyOpenFlags, isPageWrite, openFlags } from './native-request.js';
import type { PathOperations, Serving } from './path-operations.js';

/** libfuse does not say whether the kernel fills its page cache, and cannot drop pages from it. */
const DIRECT = true;

/** Flags of open(2) that the kernel handles, so that the file system does not get them. */
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_NOCTTY = 0o400;

export class FileOperations {
  readonly #serving: Serving;
  readonly #paths: PathOperations;

  constructor(serving: Serving, paths: PathOperations) {
    this.#serving = serving;
    this.#paths = paths;
  }

  get #ctx(): RequestContext {
    return this.#serving.ctx;
  }

  /** The number by which libfuse will know the open file. */
  async open(request: NativeRequest, path: string, flags: number): Promise<number> {
    const { operations, nodes, files } = this.#serving;
    const node = await nodes.resolve(this.#ctx, path);
    try {
      const wanted = flags & ~(O_CREAT | O_EXCL | O_NOCTTY);
      const reply = await operations.open(this.#ctx, node.nodeid, wanted);
      applyOpenFlags(request, reply.openFlags);
      return files.add(path, node, reply.fh, wanted).number;
    } catch (error) {
      nodes.forget(node);
      throw error;
    }
  }

  async create(request: NativeRequest, path: string, mode: number): Promise<number> {
    const { operations, nodes, files } = this.#serving;
    nodes.checkFree(path);
    const flags = openFlags(request);
    const { entry, open } = await nodes.withParent(this.#ctx, path, ({ parent, name }) =>
      operations.create(this.#ctx, parent, name, mode, flags),
    );
    applyOpenFlags(request, open.openFlags);
    return files.add(path, { nodeid: entry.nodeid, entry }, open.fh, flags).number;
  }

  async fgetattr(number: number): Promise<Uint32Array> {
    const { node, fh } = this.#file(number);
    const { attributes } = await this.#serving.operations.getattr(this.#ctx, node.nodeid, fh);
    return this.#paths.stat(attributes);
  }

  async ftruncate(number: number, size: number): Promise<void> {
    const { node, fh } = this.#file(number);
    await this.#serving.operations.setattr(this.#ctx, node.nodeid, {
      mode: undefined,
      uid: undefined,
      gid: undefined,
      size: BigInt(size),
      atime: undefined,
      mtime: undefined,
      fh,
    });
  }

  /** Fills `target` from the start; fewer bytes than it has mean the end of the file. */
  async read(number: number, target: Uint8Array, offset: number): Promise<number> {
    const { node, fh, flags } = this.#file(number);
    const request = { fh, offset, size: target.length, flags, direct: DIRECT };
    const data = await this.#serving.operations.read(this.#ctx, node.nodeid, request);
    if (data instanceof Uint8Array) {
      target.set(data);
      return data.length;
    }
    let at = 0;
    for (const piece of 'release' in data ? data.pieces : data) {
      target.set(piece, at);
      at += piece.length;
    }
    if ('release' in data) data.release();
    return at;
  }

  /** `data` is libfuse's memory until the answer. */
  async write(request: NativeRequest, number: number, data: Uint8Array, offset: number): Promise<number> {
    const { node, fh, flags } = this.#file(number);
    const { operations } = this.#serving;
    const fromPageCache = isPageWrite(request);
    const write = { fh, offset, data, flags, fromPageCache, direct: DIRECT };
    return operations.write(this.#ctx, node.nodeid, write);
  }

  async flush(number: number): Promise<void> {
    const { node, fh } = this.#file(number);
    await this.#serving.operations.flush(this.#ctx, node.nodeid, fh, 0n);
  }

  async fsync(number: number, datasync: boolean): Promise<void> {
    const { node, fh } = this.#file(number);
    await this.#serving.operations.fsync(this.#ctx, node.nodeid, fh, datasync);
  }

  async release(number: number): Promise<void> {
    const { operations, nodes, files } = this.#serving;
    const file = this.#file(number);
    try {
      await operations.release(this.#ctx, file.node.nodeid, file.fh, undefined);
    } finally {
      files.remove(file);
      nodes.forget(file.node);
    }
  }

  #file(number: number): LibfuseFile {
    return this.#serving.files.get(number);
  }
}
