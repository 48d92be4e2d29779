/** Finds and starts the command, with the exit statuses of env(1): 127 not found, 126 not executable. */
import { isUtf8 } from 'node:buffer';
import { type ChildProcess, spawn } from 'node:child_process';
import { constants, readlinkSync } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { delimiter, isAbsolute, join, resolve } from 'node:path';
import { errorCode } from '../base/log.js';
import { UserError } from '../base/user-error.js';

const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;

/**
 * The program's file as an absolute path, since a relative one may lead into the mount. Without `folder` the working
 * directory has no path, and the result is relative to it. Throws UserError.
 */
async function findCommand(name: string, folder: string | undefined): Promise<string> {
  const path = process.env.PATH ?? '';
  const candidates = name.includes('/') ? [name] : path.split(delimiter).map((one) => join(one, name));
  let exists = false;
  for (const candidate of candidates) {
    const file = pathOf(candidate, folder);
    const found = await stat(file).catch(() => undefined);
    if (found === undefined) continue;
    exists = true;
    if (!found.isFile()) continue;
    if (
      await access(file, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return file;
  }
  if (exists && name !== '')
    throw new UserError(`${name} cannot be executed.`, {
      remedy: 'It is not a program, or its permissions forbid it (on the mount also the option noexec).',
      exitStatus: NOT_EXECUTABLE,
    });
  throw new UserError(`The command ${name} was not found.`, {
    remedy: 'Give its path, or check PATH.',
    exitStatus: NOT_FOUND,
  });
}

/** The path always contains a slash, because spawn looks for a name without one in PATH. */
function pathOf(candidate: string, folder: string | undefined): string {
  if (folder !== undefined) return resolve(folder, candidate);
  return isAbsolute(candidate) ? candidate : `./${candidate}`;
}

/**
 * Starts the command on this process's standard streams. Looks the working directory up again, because it may lie in the new
 * mount on `mountpoint`, an absolute path without symbolic links. `started` gets the process before it is known whether it
 * could be started. Throws UserError.
 */
export async function startCommand(
  command: readonly [string, ...string[]],
  mountpoint: string,
  environment: NodeJS.ProcessEnv,
  started: (child: ChildProcess) => void,
): Promise<ChildProcess> {
  const [name, ...args] = command;
  const cwd = await workingDirectory(mountpoint);
  const file = await findCommand(name, cwd);
  const child = spawn(file, args, { argv0: name, stdio: 'inherit', env: environment, cwd });
  started(child);
  return new Promise((resolve, reject) => {
    child.once('spawn', () => resolve(child));
    child.once('error', (error) => {
      const code = errorCode(error);
      reject(
        new UserError(`${name} cannot be executed (${code}).`, {
          remedy: code === 'ENOENT' ? 'The program that is to interpret it is missing.' : undefined,
          exitStatus: code === 'ENOENT' ? NOT_FOUND : NOT_EXECUTABLE,
          cause: error,
        }),
      );
    });
  });
}

/** The working directory for the command. Undefined: the command inherits ours as it is. */
async function workingDirectory(mountpoint: string): Promise<string | undefined> {
  let path: string;
  try {
    path = process.cwd();
  } catch {
    // The directory was removed.
    return undefined;
  }
  // Where the path is not UTF-8, Node's text with U+FFFD names no file.
  const bytes = path.includes('\ufffd')
    ? readlinkSync('/proc/self/cwd', { encoding: 'buffer' })
    : Buffer.from(path);
  const mayBeCovered = isAtOrBelow(bytes, mountpoint);
  if (!isUtf8(bytes)) {
    if (!mayBeCovered) return undefined;
    throw new UserError(`The working directory ${path} is not valid UTF-8, and below the mount point.`, {
      remedy: 'Go there by the command itself, or start elsewhere.',
    });
  }
  try {
    await access(path, constants.X_OK);
    return path;
  } catch (error) {
    // This process is in the directory already, and so the command need not enter it.
    if (!mayBeCovered) return undefined;
    throw new UserError(`The working directory ${path} cannot be entered (${errorCode(error)}).`, {
      remedy: 'It is below the mount point: go there by the command itself, or start elsewhere.',
      cause: error,
    });
  }
}

function isAtOrBelow(path: Buffer, folder: string): boolean {
  const beginning = Buffer.from(join(folder, '/'));
  return Buffer.concat([path, Buffer.from('/')])
    .subarray(0, beginning.length)
    .equals(beginning);
}
