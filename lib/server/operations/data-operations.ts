/** READ, WRITE, COMMIT. */
import * as fs from 'node:fs';
import { promisify } from 'node:util';
import {
  type CommitArguments,
  type CommitResult,
  type ReadArguments,
  type ReadResult,
  StableHow,
  Status,
  type WriteArguments,
  type WriteResult,
} from '../../programs/nfs3/index.js';
import type { ServedUser } from '../served-users.js';
import { NfsError, statusOfErrno, statusOfError } from '../status-error.js';
import { type FileStat, statDescriptor } from '../tree/file-stat.js';
import type { Permit, ServedFile } from '../tree/served-files.js';
import type { ServedObject } from '../tree/served-object.js';
import type { ExportedTree } from '../tree/tree.js';
import { isAllowed, MAY_READ, MAY_WRITE } from './access.js';
import { clearSetIds, requireData } from './attribute-operations.js';

const fsync = promisify(fs.fsync);
const fdatasync = promisify(fs.fdatasync);

/** Moving fewer bytes to or from the page cache takes less time than the way to the thread pool and back. */
const IN_POOL_FROM = 64 * 1024;

/** The attributes of an open file. Throws NFS3ERR_STALE if the file was removed. */
function statOpen(tree: ExportedTree, file: ServedFile): FileStat {
  const stat = statDescriptor(file.descriptor);
  if (typeof stat === 'number') throw new NfsError(statusOfErrno(-stat));
  if (stat.nlink === 0) {
    tree.files.drop(file.inode);
    throw new NfsError(Status.STALE);
  }
  return stat;
}

/** Opens the file for `use`, and gives it back afterwards. Throws what opening and `use` throw. */
async function withOpen<T>(
  tree: ExportedTree,
  inode: ServedObject,
  mode: 'read' | 'write',
  permit: Permit,
  use: (file: ServedFile) => Promise<T>,
): Promise<T> {
  const file = tree.files.acquire(inode, mode, permit);
  try {
    return await use(file);
  } finally {
    file.release();
  }
}

export async function read(tree: ExportedTree, args: ReadArguments, caller: ServedUser): Promise<ReadResult> {
  let inode: ServedObject | undefined;
  try {
    inode = tree.table.get(args.file);
    const permit: Permit = (stat, descriptor) => requireData(tree, caller, stat, descriptor, MAY_READ);
    return await withOpen(tree, inode, 'read', permit, async (file) => {
      const stat = statOpen(tree, file);
      permit(stat, file.descriptor);
      const size = Number(stat.size);
      const limit = Math.min(args.count, tree.options.limits.rtmax, tree.faults.maxRead ?? args.count);
      const wanted = Math.max(0, Math.min(limit, size - args.offset));
      const data = Buffer.allocUnsafeSlow(wanted);
      const count = await readFully(file.descriptor, data, args.offset);
      // Compare with the size after the read: a file that has grown meanwhile was not read to its end.
      const attributes = statOpen(tree, file);
      const eof = BigInt(args.offset + count) >= attributes.size;
      return { status: Status.OK, attributes, eof, data: data.subarray(0, count) };
    });
  } catch (error) {
    return { status: statusOfError(error), attributes: tree.tryStat(inode) };
  }
}

const readInPool = promisify(fs.read);

async function readFully(descriptor: number, data: Buffer, offset: number): Promise<number> {
  let done = 0;
  while (done < data.length) {
    const left = data.length - done;
    const count =
      left < IN_POOL_FROM
        ? fs.readSync(descriptor, data, done, left, offset + done)
        : (await readInPool(descriptor, data, done, left, offset + done)).bytesRead;
    if (count === 0) break;
    done += count;
  }
  return done;
}

export async function write(
  tree: ExportedTree,
  args: WriteArguments,
  caller: ServedUser,
): Promise<WriteResult> {
  let inode: ServedObject | undefined;
  let before: FileStat | undefined;
  try {
    inode = tree.table.get(args.file);
    tree.requireWritable();
    const permit: Permit = (stat, descriptor) => requireData(tree, caller, stat, descriptor, MAY_WRITE);
    return await withOpen(tree, inode, 'write', permit, async (file) => {
      const { wtmax } = tree.options.limits;
      const data = args.data.subarray(0, Math.min(wtmax, tree.faults.maxWrite ?? wtmax));
      const isUnstable = args.stable === StableHow.UNSTABLE;
      const written = await file.exclusively(async () => {
        const stat = statOpen(tree, file);
        before = stat;
        permit(stat, file.descriptor);
        if (data.length > 0) clearSetIds(tree, caller, stat.mode, file.descriptor);
        if (isUnstable) tree.uncommitted.record(file.inode.handle, file.descriptor, args.offset, data.length);
        const count = await writeFully(file.descriptor, data, args.offset);
        return { count, wcc: { before: stat, after: statOpen(tree, file) } };
      });
      if (!isUnstable) {
        await (args.stable === StableHow.DATA_SYNC ? fdatasync : fsync)(file.descriptor);
        tree.uncommitted.committed(file.inode.handle);
      }
      return { status: Status.OK, ...written, committed: args.stable, verifier: tree.writeVerifier };
    });
  } catch (error) {
    return { status: statusOfError(error), wcc: tree.wcc(inode, before) };
  }
}

const writeInPool = promisify(fs.write) as (
  descriptor: number,
  data: Uint8Array,
  start: number,
  length: number,
  offset: number,
) => Promise<{ bytesWritten: number }>;

/** Returns the bytes written: fewer than wanted if the space has run out. */
async function writeFully(descriptor: number, data: Uint8Array, offset: number): Promise<number> {
  let done = 0;
  while (done < data.length) {
    const left = data.length - done;
    try {
      done +=
        left < IN_POOL_FROM
          ? fs.writeSync(descriptor, data, done, left, offset + done)
          : (await writeInPool(descriptor, data, done, left, offset + done)).bytesWritten;
    } catch (error) {
      if (done > 0) return done;
      throw error;
    }
  }
  return done;
}

/** COMMIT is allowed to callers that may read or write the file. */
function requireEither(tree: ExportedTree, caller: ServedUser, stat: FileStat, descriptor: number): void {
  if (isAllowed(tree, caller, stat, descriptor, MAY_WRITE)) return;
  requireData(tree, caller, stat, descriptor, MAY_READ);
}

/** Makes the whole file stable, not only the range that was asked for, as other servers do. */
export async function commit(
  tree: ExportedTree,
  args: CommitArguments,
  caller: ServedUser,
): Promise<CommitResult> {
  let inode: ServedObject | undefined;
  let before: FileStat | undefined;
  try {
    inode = tree.table.get(args.file);
    const verifier = tree.writeVerifier;
    const permit: Permit = (stat, descriptor) => requireEither(tree, caller, stat, descriptor);
    return await withOpen(tree, inode, 'read', permit, async (file) => {
      before = statOpen(tree, file);
      permit(before, file.descriptor);
      await fsync(file.descriptor);
      tree.uncommitted.committed(file.inode.handle);
      return { status: Status.OK, wcc: { before, after: statOpen(tree, file) }, verifier };
    });
  } catch (error) {
    return { status: statusOfError(error), wcc: tree.wcc(inode, before) };
  }
}
