/**
 * Locks that a mount has left behind. NLM has no leases: a server keeps the locks of a client that has died for ever. So a
 * mount notes in a file of the runtime folder which locks the server may hold for it. The watcher, or the next mount at
 * the same place, releases exactly those. Owns the form of that file, and how a living owner is told from a dead one: it
 * holds a flock(2) lock on the file.
 */
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync, rmSync } from 'node:fs';
import koffi from 'koffi';
import { parsedJson } from '../../base/json.js';
import { LAST_BYTE, lengthOf } from '../../locks/index.js';
import { fileHandleFromBytes, fileHandleToBytes } from '../../programs/nfs3/index.js';
import {
  type LockResult,
  LockStatus,
  lockProcedures,
  lockStatusName,
  NLM_PROGRAM,
  type RemoteLock,
} from '../../programs/nlm4/index.js';
import { programService } from '../../programs/program-service.js';
import { authSysCredential, type Credential, type RpcClient } from '../../rpc/index.js';
import type { Ids } from '../../vfs/caller/identity.js';
import { ownCredential } from '../../vfs/caller/own-identity.js';
import { DEFAULT_CONFIG } from '../../vfs/config.js';
import type { LockNote } from '../../vfs/locks/lock-notes.js';
import { ownUid, type RuntimeFolder, runtimeFoldersOf } from './runtime-folder.js';

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
const SUFFIX = '.locks';
const LOCK_EX_NB = 2 | 4;
/** The lock manager has so long for each call, in tenths of a second. */
const RELEASE_RPC = { timeo: 30, retrans: 1, recovery: 'soft', connectTimeout: 5_000 } as const;
/** Files are a few kilobytes. A longer one is not read to its end. */
const MAX_LINES = 100_000;

const flock = koffi.load(null).func('int flock(int fd, int operation)');

/** Where locks are held, the name under which, and how the server is called there. */
export interface LockPlace {
  readonly host: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  /** One character per byte. */
  readonly callerName: string;
  /** The mount calls from a port below 1024. Undefined: an older version has made the notes, which did not say. */
  readonly resvport?: boolean | undefined;
  /** Whom the server takes for the caller. Undefined as above. */
  readonly user?: Ids | undefined;
}

/** The outcome of an attempt to release left locks. */
export interface Release {
  /** The number of owners and files of which the server holds nothing any more. */
  readonly released: number;
  /** The number of those of which it may. Their notes stay. */
  readonly failed: number;
  /** Why, if any failed. */
  readonly why?: string;
}

const NOTHING: Release = { released: 0, failed: 0 };

/** "1 lock", "2 locks". */
export function lockCount(count: number): string {
  return `${count} ${count === 1 ? 'lock' : 'locks'}`;
}

/** An owner that may hold locks of a file, or a lock that waits in the form in which it was asked for. */
export type NotedLock = LockNote;

/** A new name for the file of a mount point; each mount has a file of its own. */
export function newLockFileName(mountpoint: string): string {
  return `${placeOf(mountpoint)}-${randomBytes(4).toString('hex')}${SUFFIX}`;
}

/** Takes the flock(2) lock that says "the owner of this file lives". False: another process has it. */
export function claim(fd: number): boolean {
  return (flock(fd, LOCK_EX_NB) as number) === 0;
}

export function headLine(place: LockPlace): string {
  return `${JSON.stringify({ version: 1, ...place })}\n`;
}

export function noteLine({ handle, svid, ownerHandle, waiting }: NotedLock): string {
  const owner = [fileHandleToBytes(handle).toString('hex'), svid, hex(ownerHandle)];
  const range = waiting && [String(waiting.start), String(waiting.end), waiting.exclusive];
  return `${JSON.stringify([...owner, ...(range ?? [])])}\n`;
}

/** Releases the locks that mounts on `mountpoint` have left, if their processes are dead. Never rejects. */
export async function releaseLeftLocks(mountpoint: string): Promise<Release> {
  let sum = NOTHING;
  for (const folder of runtimeFoldersOf(ownUid())) {
    try {
      for (const name of folder.names()) {
        if (!name.startsWith(placeOf(mountpoint)) || !name.endsWith(SUFFIX)) continue;
        const { released, failed, ...more } = await releaseFile(folder, name);
        sum = { ...sum, ...more, released: sum.released + released, failed: sum.failed + failed };
      }
    } finally {
      folder.close();
    }
  }
  return sum;
}

/** The notes of a process with whose mount this one goes on. */
export interface ClaimedNotes {
  /** They are of no use any more: this process has notes of its own. */
  remove(): void;
  /** They stay, for whoever comes next. */
  close(): void;
}

/**
 * Claims the notes in the file `name`, so that nobody releases these locks meanwhile. A thread of the process that wrote them may hold
 * the claim for as long as it is stuck, and nobody else gets it then either. Of no effect where there are none.
 */
export function claimNotes(name: string): ClaimedNotes {
  for (const folder of runtimeFoldersOf(ownUid())) {
    let fd: number | undefined;
    try {
      fd = openSync(folder.at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      if (isOwnFile(fd)) {
        claim(fd);
        return claimedIn(folder, name, fd);
      }
    } catch {
      // Not here.
    }
    if (fd !== undefined) closeSync(fd);
    folder.close();
  }
  return { remove: () => {}, close: () => {} };
}

function claimedIn(folder: RuntimeFolder, name: string, fd: number): ClaimedNotes {
  const close = (): void => {
    closeSync(fd);
    folder.close();
  };
  return {
    close,
    remove: () => {
      rmSync(folder.at(name), { force: true });
      close();
    },
  };
}

async function releaseFile(folder: RuntimeFolder, name: string): Promise<Release> {
  let fd: number;
  try {
    fd = openSync(folder.at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch {
    return NOTHING;
  }
  try {
    if (!isOwnFile(fd) || !claim(fd)) return NOTHING;
    const left = parse(readFileSync(fd, 'utf8'));
    const done = left === undefined || left.notes.length === 0 ? NOTHING : await unlockAll(left);
    if (done.failed === 0) rmSync(folder.at(name), { force: true });
    return done;
  } finally {
    closeSync(fd);
  }
}

/**
 * Whether a mount of this user can have written it. The folder keeps other users out, but may have let them in at some time:
 * what they have left there says where calls go, and which locks end.
 */
function isOwnFile(fd: number): boolean {
  const found = fstatSync(fd);
  return found.isFile() && found.uid === ownUid() && (found.mode & 0o022) === 0;
}

/** Statuses after which the server holds nothing. In a grace period the locks are gone already, and a dead mount reclaims none. */
const GONE: ReadonlySet<LockStatus> = new Set([
  LockStatus.GRANTED,
  LockStatus.DENIED_GRACE_PERIOD,
  LockStatus.STALE_FH,
]);
/** A CANCEL is denied where nothing waits in that form any more. */
const WAITS_NOT: ReadonlySet<LockStatus> = new Set([...GONE, LockStatus.DENIED]);

/**
 * Ends what waits before what is held: the server would else grant the one when the other is released. Calls go out as those
 * of the mount did, or the server would refuse them. Never rejects.
 */
async function unlockAll({ place, notes }: LeftNotes): Promise<Release> {
  const { host, port, protocol, callerName, resvport = true } = place;
  const { CANCEL, UNLOCK } = lockProcedures;
  const cookie = 'release';
  const options = { credential: credentialOf(place) };
  const remote = ({ handle, svid, ownerHandle }: NotedLock, start: bigint, end: bigint): RemoteLock => {
    const length = lengthOf({ start, end });
    return { callerName, handle, ownerHandle, svid, offset: start, length };
  };
  const left = new Set(notes);
  const refused = new Set<NotedLock>();
  let why: string | undefined;
  const judge = (note: NotedLock, { status }: LockResult, good: ReadonlySet<LockStatus>): void => {
    if (good.has(status)) return;
    why ??= lockStatusName(status);
    refused.add(note);
  };
  try {
    const service = programService(NLM_PROGRAM, { host, port, protocol, resvport }, RELEASE_RPC);
    await service.ask(async (rpc: RpcClient) => {
      for (const note of notes) {
        const { waiting } = note;
        if (waiting === undefined) continue;
        const { start, end, exclusive } = waiting;
        const lock = remote(note, start, end);
        judge(note, await rpc.call(CANCEL, { cookie, block: true, exclusive, lock }, options), WAITS_NOT);
      }
      for (const note of notes) {
        judge(note, await rpc.call(UNLOCK, { cookie, lock: remote(note, 0n, LAST_BYTE) }, options), GONE);
        if (!refused.has(note)) left.delete(note);
      }
    });
  } catch (error) {
    why ??= error instanceof Error ? error.message : String(error);
  }
  const counts = { released: notes.length - left.size, failed: left.size };
  return left.size > 0 && why !== undefined ? { ...counts, why } : counts;
}

function credentialOf({ callerName, user }: LockPlace): Credential {
  if (user === undefined) return ownCredential(DEFAULT_CONFIG.identity);
  return authSysCredential({ machineName: Buffer.from(callerName, 'latin1').toString('utf8'), ...user });
}

interface LeftNotes {
  readonly place: LockPlace;
  readonly notes: readonly NotedLock[];
}

/** The last line may be cut off: the process died while it wrote that, and had asked for nothing yet. */
function parse(text: string): LeftNotes | undefined {
  const [head = '', ...lines] = text.split('\n', MAX_LINES);
  const place = parsedJson(head);
  if (!isPlace(place)) return undefined;
  return { place, notes: lines.map(noteOf).filter((note) => note !== undefined) };
}

function noteOf(line: string): NotedLock | undefined {
  const fields = parsedJson(line);
  if (!Array.isArray(fields)) return undefined;
  const [handle, svid, ownerHandle, start, end, exclusive] = fields as unknown[];
  if (typeof handle !== 'string' || typeof svid !== 'number' || typeof ownerHandle !== 'string')
    return undefined;
  const owner = {
    handle: fileHandleFromBytes(Buffer.from(handle, 'hex')),
    svid,
    ownerHandle: Buffer.from(ownerHandle, 'hex').toString('latin1'),
  };
  if (!isNumber(start) || !isNumber(end)) return owner;
  return { ...owner, waiting: { start: BigInt(start), end: BigInt(end), exclusive: exclusive === true } };
}

function isNumber(value: unknown): value is string {
  return typeof value === 'string' && /^\d{1,19}$/.test(value);
}

function isPlace(value: unknown): value is LockPlace {
  if (typeof value !== 'object' || value === null) return false;
  const { version, host, port, protocol, callerName, resvport, user } = value as Record<string, unknown>;
  return (
    version === 1 &&
    typeof host === 'string' &&
    typeof port === 'number' &&
    (protocol === 'tcp' || protocol === 'udp') &&
    typeof callerName === 'string' &&
    (resvport === undefined || typeof resvport === 'boolean') &&
    (user === undefined || isIds(user))
  );
}

function isIds(value: unknown): value is Ids {
  if (typeof value !== 'object' || value === null) return false;
  const { uid, gid, groups } = value as Record<string, unknown>;
  return [uid, gid].every(isId) && Array.isArray(groups) && groups.every(isId);
}

function isId(value: unknown): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}

function placeOf(mountpoint: string): string {
  return createHash('sha256').update(mountpoint).digest('hex').slice(0, 32);
}

function hex(text: string): string {
  return Buffer.from(text, 'latin1').toString('hex');
}
