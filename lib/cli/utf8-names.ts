/**
 * Node knows arguments and paths as text. What was not UTF-8 has become U+FFFD there and names nothing, or something
 * else: it is refused before it is looked for, or handed to a command.
 */
import { isUtf8 } from 'node:buffer';
import { readFileSync, readlinkSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { EXEC_FAILED } from './exec/run.js';
import { AS_URL, looksLikeTarget } from './mount-target.js';
import { UserError } from './user-error.js';

const REPLACEMENT = '\ufffd';
const RENAME = 'Mount points, folders and log files have to be: rename it, or name it otherwise.';
/** What ends a mount that somebody else has made at such a place. */
const UMOUNT = 'umount(8) and fusermount3 -u take such a path.';
const SCRIPT = 'nfs-fuse exec cannot pass it on: put the command into a script.';

export function notUtf8(name: string, remedy = RENAME, exitStatus = 1): UserError {
  return new UserError(`"${name}" is not valid UTF-8.`, { remedy, exitStatus });
}

/** Throws UserError if one of our own arguments, in Node's words, is not what was given. */
export function refuseWhatIsNotUtf8(args: readonly string[]): void {
  const suspects = args.filter((argument) => argument.includes(REPLACEMENT));
  if (suspects.length === 0) return;
  const given = argumentsAsGiven();
  const wrong = suspects.find((argument) => given?.has(argument) === false);
  if (wrong === undefined) return;
  throw notUtf8(wrong, remedyFor(wrong, args), args[0] === 'exec' ? EXEC_FAILED : 1);
}

function remedyFor(wrong: string, args: readonly string[]): string {
  const [command] = args;
  const dashes = args.indexOf('--');
  if (command === 'exec' && dashes >= 0 && args.indexOf(wrong) > dashes) return SCRIPT;
  if (command === 'umount' || command === 'unmount') return UMOUNT;
  return looksLikeTarget(wrong) ? AS_URL : RENAME;
}

/** Those that are UTF-8, among them U+FFFD itself; undefined: there is no /proc. */
function argumentsAsGiven(): ReadonlySet<string> | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync('/proc/self/cmdline');
  } catch {
    return undefined;
  }
  // Latin-1 keeps every byte as one character.
  const all = bytes.toString('latin1').split('\0');
  return new Set(
    all
      .map((text) => Buffer.from(text, 'latin1'))
      .filter((one) => isUtf8(one))
      .map(String),
  );
}

/** resolve(), for a path that somebody has typed. Throws UserError in a working directory that has no name in UTF-8. */
export function absolutePath(path: string): string {
  const absolute = resolve(path);
  if (isAbsolute(path) || !absolute.includes(REPLACEMENT)) return absolute;
  if (!isUtf8(readlinkSync('/proc/self/cwd', { encoding: 'buffer' }))) throw notUtf8(absolute);
  return absolute;
}
