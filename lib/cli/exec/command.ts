/** Finds and starts the command, in the words and with the exit statuses of env(1): 127 not found, 126 not executable. */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';
import { errorCode } from '../log.js';
import { UserError } from '../user-error.js';

const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;

/** The program's file, as an absolute path: what is relative may be in the mount. Throws UserError. */
async function findCommand(name: string, folder: string): Promise<string> {
  const path = process.env.PATH ?? '';
  const candidates = name.includes('/') ? [name] : path.split(delimiter).map((one) => join(one, name));
  let exists = false;
  for (const candidate of candidates) {
    const file = resolve(folder, candidate);
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

/**
 * Starts it on this process's standard streams. The working directory is looked up anew, because it may be in the
 * mount. Throws UserError.
 */
export async function startCommand(
  command: readonly [string, ...string[]],
  environment: NodeJS.ProcessEnv,
  started: (child: ChildProcess) => void,
): Promise<ChildProcess> {
  const [name, ...args] = command;
  const cwd = await workingDirectory();
  const file = await findCommand(name, cwd ?? '/');
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

async function workingDirectory(): Promise<string | undefined> {
  let path: string;
  try {
    path = process.cwd();
  } catch {
    // It was removed; the command inherits it as it is.
    return undefined;
  }
  try {
    await access(path, constants.X_OK);
    return path;
  } catch (error) {
    throw new UserError(`The working directory ${path} cannot be entered (${errorCode(error)}).`, {
      remedy: 'It is below the mount point: go there by the command itself, or start elsewhere.',
      cause: error,
    });
  }
}
