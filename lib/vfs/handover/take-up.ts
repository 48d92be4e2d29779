/**
 * Going on with the mount of a process that has died, or has handed it over. Owns the order in which its records become objects
 * of this process, and what is said of data that died with it.
 *
 * Nothing is trusted that is not recorded: attributes are asked for again, names are looked up again, and the kernel drops what it
 * has of the content of open files.
 */
import { inPieces } from '../../base/in-pieces.js';
import type { Logger } from '../../base/log.js';
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { DentryCache } from '../cache/dentry-cache.js';
import { describePath, type Inode } from '../cache/inode.js';
import type { InodeTable } from '../cache/inode-table.js';
import { type Credentials, unattended } from '../caller/caller.js';
import type { VfsCounters } from '../counters.js';
import type { Files } from '../data/files.js';
import type { OpenFile } from '../data/open-file.js';
import type { Directories } from '../directories/directories.js';
import { OpenDirectory } from '../directories/directory-records.js';
import type { LeftLocks } from '../locks/lock-succession.js';
import type { Locks } from '../locks/locks.js';
import type { SillyRenames } from '../names/silly-rename.js';
import { commitAll, type WriteCallsNeeds } from '../write-behind/write-calls.js';
import { type FoundRecords, findRecords } from './found-records.js';
import type { Handover } from './handover.js';
import type { LocksFound } from './kept-locks.js';
import type { WritesFound } from './write-records.js';

/** Locks are brought in order before programs get answers, but a lock manager that is silent holds nobody up for longer. */
const LOCKS_MS = 5_000;

export interface TakeUpNeeds extends WriteCallsNeeds {
  readonly inodes: InodeTable;
  readonly dentries: DentryCache;
  readonly counters: VfsCounters;
  readonly log: Logger;
}

/** The parts of the client that take something up. */
export interface Successors {
  readonly files: Files;
  readonly directories: Directories;
  readonly silly: SillyRenames;
  readonly locks: Locks | undefined;
  readonly credentials: Credentials;
}

/** A difference in ctime from whatever the server will say. */
const NEVER = { seconds: 0, nanoseconds: 0 };

/**
 * Takes up all that an earlier process has recorded. To be called before the kernel's first request is read.
 * @throws RecordsError for records that are not as this program writes them
 */
export async function takeUpMount(vfs: TakeUpNeeds, handover: Handover, to: Successors): Promise<void> {
  const { counters, memory } = handover;
  vfs.inodes.nodeids.goOnFrom(counters.firstNodeid);
  to.files.fhs.goOnFrom(counters.firstFh);
  to.directories.fhs.goOnFrom(counters.firstFh);
  const found = await findRecords(memory, to.credentials);
  for (const ref of found.outdated) memory.free(ref);
  for (const request of found.requests) handover.requests.takeUp(request);
  await takeUpInodes(vfs, found);
  const { inodes } = vfs;
  const written = writtenInodes(found, inodes);
  for (const inode of written) to.files.pin(inode);
  const open = takeUpFiles(handover, to.files, found, inodes);
  takeUpDirectories(handover, to.directories, found, inodes);
  await takeUpData(handover, to.files, found, inodes);
  takeUpAttributes(handover, to.files, found, inodes);
  await takeUpSillyNames(handover, to.silly, found, inodes);
  for (const locks of found.locks) {
    if (to.locks !== undefined && isHeld(locks, to.files)) handover.locks.takeUp(locks);
    else for (const ref of locks.refs) memory.free(ref);
  }
  const left = locksLeft(inodes, found, to.files);
  await Promise.all([
    ...found.writes.map((writes) => tellLoss(vfs, to.files, writes, inodes, open)),
    to.locks?.takeUp(left, LOCKS_MS),
  ]);
  for (const { ref } of found.lockNotes) memory.free(ref);
  for (const inode of written) void letGo(inode, to.files);
  // Those that the kernel has forgotten, and that only an open file held.
  for (const { nodeid, nlookup } of found.inodes.values()) {
    const inode = nlookup === 0 ? inodes.find(nodeid) : undefined;
    if (inode !== undefined) inodes.release(inode);
  }
}

/** Files whose data an earlier process had taken. Some may be closed by now. */
function writtenInodes(found: FoundRecords, inodes: InodeTable): ReadonlySet<Inode> {
  const all = [...found.writes, ...found.copies, ...found.attributes].map(({ nodeid }) =>
    inodes.find(nodeid),
  );
  return new Set(all.filter((inode) => inode !== undefined));
}

/** The file counts as open no longer. Where nobody else has it open, its data comes to stable storage first. */
async function letGo(inode: Inode, files: Files): Promise<void> {
  if (inode.opens === 1) await files.writerOf(inode).flush();
  files.unpin(inode);
}

async function takeUpInodes({ inodes, dentries }: TakeUpNeeds, found: FoundRecords): Promise<void> {
  for await (const piece of inPieces(found.inodes.values()))
    for (const { nodeid, handle, nlookup, ref: record, attributes } of piece) {
      const inode = inodes.takeUp({ nodeid, handle, nlookup, record });
      inode.attributes = attributes;
      // The kernel may believe something newer, or older: the first word of the server on it is news.
      if (attributes !== undefined) inode.told = { ...attributes, ctime: NEVER };
    }
  let tooMany = found.inodes.size - dentries.room;
  for await (const piece of inPieces(found.inodes.values()))
    for (const { nodeid, parent: parentId, name } of piece) {
      const inode = inodes.find(nodeid);
      const parent = inodes.find(parentId);
      if (inode === undefined || parent === undefined) continue;
      // That is where its record says it is.
      dentries.place(parent, name, inode);
      // Of no generation: it says what to expect, and is no evidence of what is there. Where not all have room, some do without.
      if (tooMany-- <= 0) dentries.set(parent, name, inode, -1);
    }
}

/** The open files, by inode. */
function takeUpFiles(
  { memory, writes }: Handover,
  files: Files,
  found: FoundRecords,
  inodes: InodeTable,
): Map<Inode, OpenFile[]> {
  for (const one of found.writes) {
    const inode = inodes.find(one.nodeid);
    if (inode === undefined) {
      memory.free(one.ref);
      continue;
    }
    writes.takeUp(one);
    files.takeUpWrites(inode, one.errors, one.append);
  }
  const open = new Map<Inode, OpenFile[]>();
  for (const { nodeid, ref: record, ...file } of found.files) {
    const inode = inodes.find(nodeid);
    if (inode === undefined) memory.free(record);
    else open.set(inode, [...(open.get(inode) ?? []), files.takeUp(inode, { ...file, record })]);
  }
  return open;
}

/** Data that had not come to stable storage is written again, in the order in which programs had written it. */
async function takeUpData(
  { writes }: Handover,
  files: Files,
  found: FoundRecords,
  inodes: InodeTable,
): Promise<void> {
  const copies = found.copies.map((copy) => ({ copy, data: writes.data.takeAgain(copy) }));
  // Data that is written from now on counts after all of it.
  for (const { nodeid, sequence } of found.copies) {
    const inode = inodes.find(nodeid);
    const writer = inode && files.writerOf(inode);
    writer?.takeUp(sequence, writer.errors);
  }
  for (const { copy, data } of copies) {
    const inode = inodes.find(copy.nodeid);
    if (inode === undefined || data === undefined) {
      writes.data.drop(copy, data !== undefined);
      continue;
    }
    const writer = files.writerOf(inode);
    const { errors } = writer;
    await writes.data.again(copy, () =>
      writer.write(copy.offset, data, copy.credential).catch((error: unknown) => {
        // Data that the server refuses is lost, and counted, so that programs are told. All other data goes on.
        if (writer.errors === errors) throw error;
      }),
    );
  }
}

/** Changes of attributes come after all data that is written again. */
function takeUpAttributes(
  { memory, writes }: Handover,
  files: Files,
  found: FoundRecords,
  inodes: InodeTable,
): void {
  for (const one of found.attributes) {
    const inode = inodes.find(one.nodeid);
    if (inode === undefined) {
      memory.free(one.ref);
      continue;
    }
    writes.attributes.takeUp(one);
    files.writerOf(inode).takeUpAttributes(one.set, one.credential);
  }
}

function takeUpDirectories(
  { memory }: Handover,
  directories: Directories,
  found: FoundRecords,
  inodes: InodeTable,
): void {
  for (const { fh, nodeid, unique, ref, place } of found.directories) {
    const inode = inodes.find(nodeid);
    if (inode === undefined) {
      memory.free(ref);
      continue;
    }
    const directory = new OpenDirectory(fh, inode, unique, undefined);
    directory.record = ref;
    directories.takeUp(directory, place);
  }
}

async function takeUpSillyNames(
  { silly: records }: Handover,
  silly: SillyRenames,
  found: FoundRecords,
  inodes: InodeTable,
): Promise<void> {
  await Promise.all(
    found.silly.map(async (one) => {
      const { ref, name, credential, isRenamed, former } = one;
      // The kernel may have forgotten both: the name is to go all the same.
      const inode = inodes.find(one.nodeid) ?? inodes.intern(one.handle);
      const directory = inodes.find(one.directory) ?? inodes.intern(one.directoryHandle);
      records.takeUp(inode, ref);
      await silly.takeUp(inode, { directory, name, credential }, isRenamed, former);
    }),
  );
}

/**
 * Data that programs had written and that the server may not have. If all of it had reached the server, which has not restarted
 * since, a COMMIT makes it stable. Otherwise it is lost, and each descriptor through which the file may be written is told once.
 */
async function tellLoss(
  vfs: TakeUpNeeds,
  files: Files,
  { nodeid, errors, append, taken, reached, verifier }: WritesFound,
  inodes: InodeTable,
  open: ReadonlyMap<Inode, readonly OpenFile[]>,
): Promise<void> {
  const inode = inodes.find(nodeid);
  if (inode === undefined || (taken === undefined && reached === undefined)) return;
  const [file] = open.get(inode) ?? [];
  let isOnServer = reached === undefined;
  if (!isOnServer && file !== undefined && verifier !== undefined) {
    const answered = await commitAll(vfs, inode, unattended(file.credential)).catch(() => undefined);
    isOnServer = answered === verifier;
  }
  const offset = Math.min(taken?.offset ?? Infinity, isOnServer ? Infinity : (reached?.offset ?? Infinity));
  const end = Math.max(taken?.end ?? 0, isOnServer ? 0 : (reached?.end ?? 0));
  const writer = files.takeUpWrites(inode, errors, append);
  if (end > 0) {
    const what = `data between bytes ${offset} and ${end} was written, and died with the process that served the mount`;
    writer.lose(new FuseError(Errno.EIO, what));
    const told = (open.get(inode) ?? []).filter((one) => one.canWrite);
    for (const one of told) one.owesLoss = true;
    vfs.counters.losses++;
    vfs.log.error(
      `${describePath(inode)}: ${what}. ${
        told.length > 0
          ? 'Programs that have the file open for writing get an error.'
          : 'Nobody has the file open for writing any more who could be told.'
      }`,
    );
  }
  writer.record?.told();
}

/**
 * Locks end with the open file through which they were taken: where it is closed, the earlier process had begun to unlock them,
 * and the kernel will not say once more that they end.
 */
function isHeld({ fh }: LocksFound, files: Files): boolean {
  return files.find(fh) !== undefined;
}

/** All that the lock manager may hold for the earlier process, by owner and file. */
function locksLeft(inodes: InodeTable, found: FoundRecords, files: Files): readonly LeftLocks[] {
  const left = new Map<string, LeftLocks>();
  for (const one of found.locks) {
    const { nodeid, owner, handle, fh } = one;
    const inode = inodes.find(nodeid) ?? inodes.intern(handle);
    left.set(`${handle} ${owner.svid}`, {
      inode,
      owner,
      handle,
      locks: isHeld(one, files) ? one.locks : [],
      through: files.find(fh),
      waiting: [],
    });
  }
  for (const { note } of found.lockNotes) {
    const { handle, svid, ownerHandle, waiting } = note;
    const key = `${handle} ${svid}`;
    const known = left.get(key) ?? {
      inode: inodes.findByHandle(handle) ?? inodes.intern(handle),
      // Its name at the kernel is not known: nobody was told that it holds anything.
      owner: { key: `left ${svid}`, svid, ownerHandle, flock: true, pid: 0 },
      handle,
      locks: [],
      through: undefined,
      waiting: [],
    };
    left.set(key, waiting === undefined ? known : { ...known, waiting: [...known.waiting, waiting] });
  }
  return [...left.values()];
}
