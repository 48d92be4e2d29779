/**
 * --state FILE: the state of a mount that another program has made, in a file of that program's. Owns which states are gone
 * on with, and that one process at a time has the file: it holds a flock(2) lock, which its keeper shares.
 */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { errorCode } from '../base/log.js';
import { UserError } from '../base/user-error.js';
import { checkConnected, checkInherited, connectionNumber } from '../fuse/index.js';
import { fuseFailure } from '../mount/failure/fuse-failure.js';
import { isOver, type MountFacts, readFacts } from '../mount/keep/facts.js';
import { secondsSinceStart } from '../mount/keep/take-over.js';
import { lockFile } from '../mount/process/process-calls.js';
import type { TakeOverSettings } from '../mount/serve/keeping.js';
import { RecordMemory, RecordsError } from '../records/index.js';

/** An empty state for a mount that begins, or a mount to go on with. */
export type OpenedState =
  | { readonly memory: RecordMemory; readonly takeOver: undefined }
  | { readonly memory: undefined; readonly takeOver: TakeOverSettings };

/**
 * Opens the state of the mount whose connection is `fd`, of the export `source`.
 * @throws UserError for a state of another mount, one that is damaged or in use; nothing has changed then
 */
export function openState(path: string, fd: number, source: string): OpenedState {
  const file = openLocked(path);
  try {
    checkOwn(path, file);
    const memory = fstatSync(file).size === 0 ? undefined : RecordMemory.adopt(file);
    if (memory === undefined || isOver(memory.facts)) {
      checkInherited(fd);
      return { memory: emptyState(path, file), takeOver: undefined };
    }
    const facts = readFacts(memory);
    checkSame(path, facts, fd, source);
    return { memory: undefined, takeOver: takeOver(fd, memory, facts) };
  } catch (error) {
    closeSync(file);
    if (error instanceof RecordsError) throw refused(path, error.message, error);
    throw error instanceof UserError ? error : fuseFailure(error);
  }
}

function openLocked(path: string): number {
  const { O_CREAT, O_NOFOLLOW, O_RDWR } = constants;
  let file: number;
  try {
    file = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
  } catch (error) {
    throw new UserError(`The state file ${path} cannot be opened (${errorCode(error)}).`, {
      remedy: 'Name a file in a folder of your own, best in memory (/run, /dev/shm).',
      cause: error,
    });
  }
  if (lockFile(file)) return file;
  closeSync(file);
  throw new UserError(`The state file ${path} is in use: its mount is served, or kept.`, {
    remedy: 'Nothing need be done for that mount; name another file for another one.',
  });
}

/** The state says on whose behalf data is written, and whoever may change it could have this process do anything. */
function checkOwn(path: string, file: number): void {
  const { uid, mode, nlink } = fstatSync(file);
  if ((mode & constants.S_IFMT) !== constants.S_IFREG) throw refused(path, 'it is no regular file');
  if (uid !== process.geteuid?.()) throw refused(path, 'the file belongs to another user');
  if ((mode & 0o077) !== 0) throw refused(path, 'other users may open the file');
  if (nlink > 1) throw refused(path, 'the file has another name');
}

function emptyState(path: string, file: number): RecordMemory {
  const memory = RecordMemory.createIn(file);
  if (memory !== undefined) return memory;
  throw new UserError(`There is no room for the state in ${path}.`, {
    remedy: 'Name a file on a file system with more room, best in memory.',
  });
}

/** Records name inodes by numbers that mean something to one connection only. */
function checkSame(path: string, facts: MountFacts, fd: number, source: string): void {
  checkConnected(fd);
  const minor = connectionNumber(fd);
  const isSame =
    facts.madeBy === 'inherited' && facts.source === source && (minor === undefined || facts.minor === minor);
  if (!isSame)
    throw refused(
      path,
      `it is that of another mount: ${facts.source} on ${facts.mountpoint}, connection ${facts.minor}`,
    );
}

function takeOver(fd: number, memory: RecordMemory, facts: MountFacts): TakeOverSettings {
  return {
    fd,
    memory,
    facts,
    kind: 'death',
    previous: facts.pid,
    since: secondsSinceStart(),
    deaths: '',
    waiting: () => {},
    mayGoOn: () => Promise.resolve(undefined),
    served: () => {},
    kept: () => {},
    released: () => {},
  };
}

function refused(path: string, why: string, cause?: unknown): UserError {
  return new UserError(`The state in ${path} cannot be gone on with: ${why}.`, {
    remedy: 'Nothing has been done. Unmount, remove the file, and mount again.',
    cause,
  });
}
