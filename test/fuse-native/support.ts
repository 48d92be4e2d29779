/** A fuse-native without libfuse: the callbacks of a {@link Driver}, called as its addon calls them. */
import koffi from 'koffi';
import type { NativeBinding, NativeRequest } from '../../lib/fuse-native/binding.js';
import { Driver } from '../../lib/fuse-native/driver.js';
import { FileOperations } from '../../lib/fuse-native/file-operations.js';
import { InodeNumbers } from '../../lib/fuse-native/inode-numbers.js';
import { LibfuseFiles } from '../../lib/fuse-native/libfuse-files.js';
import { REQUEST_BYTES } from '../../lib/fuse-native/native-request.js';
import { Nodes } from '../../lib/fuse-native/nodes.js';
import { PathOperations } from '../../lib/fuse-native/path-operations.js';
import { EVERY_BYTE, type NameCodec } from '../../lib/fuse-native/path-text.js';
import { MemoryFileSystem } from '../support/memory-fs.js';

export interface CallOptions {
  readonly atimeMs?: bigint;
  readonly mtimeMs?: bigint;
  /** struct fuse_file_info; pass one to look at it afterwards. */
  readonly info?: Buffer;
  readonly requestBytes?: number;
}

export interface Answer {
  readonly result: number;
  readonly values: readonly unknown[];
}

/** struct fuse_file_info with the flags of open(2). */
export function fileInfo(flags: number, writepage = 0): Buffer {
  const info = Buffer.from(new ArrayBuffer(40));
  info.writeInt32LE(flags, 0);
  info.writeInt32LE(writepage, 16);
  return info;
}

export class FakeLibfuse {
  readonly fs: MemoryFileSystem;
  readonly log: string[] = [];
  readonly files = new LibfuseFiles();
  readonly driver: Driver;
  initialized = 0;
  readonly #names: string[] = [];
  readonly #answers = new Map<NativeRequest, (answer: Answer) => void>();

  constructor(fs = new MemoryFileSystem(), codec: NameCodec = EVERY_BYTE) {
    this.fs = fs;
    const warn = (line: string) => void this.log.push(line);
    const ctx = { unique: 0, resent: false, uid: 7, gid: 8, pid: 0, cancelled: false, onCancel() {} };
    const nodes = new Nodes(fs, codec, this.files, warn);
    const inodeNumbers = new InodeNumbers();
    const serving = { operations: fs, ctx, nodes, files: this.files, codec, inodeNumbers, warn };
    const paths = new PathOperations(serving);
    const files = new FileOperations(serving, paths);
    const onInit = () => {
      this.initialized += 1;
    };
    this.driver = new Driver({ binding: this.#binding(), paths, files, onInit, log: warn, debug: undefined });
  }

  /** Calls one operation; a second answer to it is an error. */
  call(name: string, args: readonly unknown[], options: CallOptions = {}): Promise<Answer> {
    const operation = this.#names.indexOf(name);
    const handler = this.driver.handlers[operation];
    if (handler === undefined) throw new Error(`no callback ${name}`);
    const request = Buffer.alloc(options.requestBytes ?? REQUEST_BYTES);
    request.writeUInt32LE(operation, 8);
    const info = options.info ?? fileInfo(0);
    request.writeBigUInt64LE(koffi.address(info), 48);
    request.writeBigInt64LE(options.atimeMs ?? 0n, 104);
    request.writeBigInt64LE(options.mtimeMs ?? 0n, 112);
    return new Promise((resolve) => {
      this.#answers.set(request, resolve);
      handler(request, operation, ...args);
    });
  }

  /** The result of an operation alone. */
  async result(name: string, ...args: readonly unknown[]): Promise<number> {
    return (await this.call(name, args)).result;
  }

  /** Opens, and answers the number. */
  async open(path: string, flags = 2): Promise<number> {
    const { result, values } = await this.call('open', [path, flags]);
    if (result !== 0) throw new Error(`open ${path}: ${result}`);
    return Number(values[0]);
  }

  /** Lookups that nobody has given back. */
  get held(): number {
    let total = 0;
    for (const node of this.fs.nodes.values()) total += node.lookups;
    return total;
  }

  #binding(): NativeBinding {
    return {
      sizeof_fuse_thread_t: 0,
      fuse_native_mount() {},
      fuse_native_unmount() {},
      operation: (name) => this.#names.push(name) - 1,
      signal:
        () =>
        (request, result, ...values) => {
          const answer = this.#answers.get(request);
          if (answer === undefined) throw new Error('answered twice');
          this.#answers.delete(request);
          answer({ result, values });
        },
    };
  }
}
