/**
 * The log file of a mount: opened at a path that the user names, and opened again after a rotation has moved it away.
 * Owns the checks of such a file: its folder may be writable for other users, who could put a link or a file of their own
 * in its place.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, type Stats, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import {
  errorCode,
  fileSink,
  fromLevel,
  type LogFormat,
  type LogLevel,
  type LogSink,
} from '../../base/log.js';
import { UserError } from '../../base/user-error.js';
import { ownUid } from '../reach/runtime-folder.js';
import { letBlock, replaceDescriptor } from './process-calls.js';

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_WRONLY } = constants;
/** The kernel shows this uid for users without a counterpart in this user namespace, such as root of the machine. */
const OVERFLOW_UID = 65_534;
const STANDARD_STREAMS = [1, 2];
const FAILURES: Readonly<Record<string, string>> = {
  ELOOP: 'is a symbolic link that another user may have made',
  ENXIO: 'is a named pipe that no program reads',
};

/**
 * Opens a log file to append to; only the owner may read a new one. Throws UserError if it cannot be opened, and also if
 * other users may write to its folder and the file, or a symbolic link in its place, belongs to another user. That user
 * could read the log, make us write somewhere else, or have a named pipe that nobody reads keep us waiting. Root is trusted.
 */
export function openLogFile(path: string): number {
  const absolute = resolve(path);
  let fd: number;
  try {
    // A link is followed only if a trusted user owns it. A link that another user makes after that check is not followed.
    const follows = isTrustedLink(absolute) ? 0 : O_NOFOLLOW;
    // A named pipe without a reader would keep us waiting for one: it is an error instead (ENXIO).
    fd = openSync(absolute, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | follows, 0o600);
  } catch (error) {
    const code = errorCode(error);
    throw new UserError(`The log file ${path} ${FAILURES[code] ?? `cannot be opened (${code})`}.`, {
      remedy: 'Name a file in a directory that exists and that you may write to.',
      cause: error,
    });
  }
  const doubt = doubtAbout(fd, absolute);
  if (doubt === undefined) {
    letBlock(fd);
    return fd;
  }
  closeSync(fd);
  throw new UserError(`The log file ${path} ${doubt}.`, {
    remedy: 'Name another file, in a directory that only you may write to.',
  });
}

function isTrustedLink(path: string): boolean {
  try {
    const found = lstatSync(path);
    if (!found.isSymbolicLink()) return false;
    if (isTrusted(found.uid)) return true;
    const folder = statSync(dirname(path));
    return !isForOthers(folder) && (isTrusted(folder.uid) || folder.uid === OVERFLOW_UID);
  } catch {
    return false;
  }
}

/** Whether users other than its owner may create files in a folder. */
function isForOthers(folder: Stats): boolean {
  return (folder.mode & 0o022) !== 0;
}

function isTrusted(uid: number): boolean {
  return uid === ownUid() || uid === 0;
}

/** The reason not to use an open log file. Undefined: it may be used. */
function doubtAbout(fd: number, path: string): string | undefined {
  const file = fstatSync(fd);
  // Terminals and devices lie in folders of root alone, and may belong to anybody there.
  if (!isForOthers(statSync(dirname(path)))) return undefined;
  if (!isTrusted(file.uid)) return `belongs to another user (uid ${file.uid})`;
  // Another user may have linked a file of ours here that is no log.
  return file.nlink > 1 ? 'has a second name, which another user may have made' : undefined;
}

export class LogFile {
  readonly descriptor: number;
  readonly sink: LogSink;
  /** For what was asked for besides, whatever the level: --debug. */
  readonly everything: LogSink;
  readonly #path: string;
  readonly #listeners: (() => void)[] = [];

  /**
   * A relative `path` starts at the present working directory, also for every {@link reopen}. Less important messages than
   * those of `level` do not go there. @throws UserError
   */
  constructor(path: string, format: LogFormat = 'text', level: LogLevel = 'info') {
    this.#path = resolve(path);
    this.descriptor = openLogFile(path);
    this.everything = fileSink(this.descriptor, format);
    this.sink = fromLevel(level, this.everything);
  }

  /** Calls `listener` after each {@link reopen}. */
  onReopen(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /**
   * Goes on in the file that has the path now; makes it if there is none. If that fails, goes on in the old file and says
   * so there. `streams`: standard output and standard error move to the new file as well.
   */
  reopen({ streams }: { readonly streams: boolean }): void {
    let fd: number;
    try {
      fd = openLogFile(this.#path);
    } catch (error) {
      this.sink('error', error instanceof Error ? error.message : String(error));
      return;
    }
    for (const old of [this.descriptor, ...(streams ? STANDARD_STREAMS : [])]) {
      if (!replaceDescriptor(fd, old)) this.sink('error', `${this.#path} could not be taken in use.`);
    }
    closeSync(fd);
    for (const listener of this.#listeners) listener();
  }
}
