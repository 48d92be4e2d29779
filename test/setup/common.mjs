/** Shared by the steps of the test set-up: where the project is, how a command is run, how set-up fails. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The project's folder. */
export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** Where compiled helpers go: ignored by git, private to this clone. */
export const cacheFolder = `${root}/node_modules/.cache/nfs-fuse-test`;

/** The set-up cannot go on; the message says what is missing and what to do. */
export class SetupError extends Error {}

/** One line of progress. */
export function say(message) {
  console.log(`# ${message}`);
}

/** Runs a command of the set-up, quiet unless it fails. */
export function must(command, args, options = {}) {
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    ...options,
  });
  if (error) throw new SetupError(`cannot run ${command}: ${error.message}`);
  if (status !== 0) {
    throw new SetupError(`${[command, ...args].join(' ')} failed (${status}):\n${stdout}${stderr}`.trim());
  }
  return stdout;
}
