/**
 * Refuses arguments of this program that are not UTF-8: Node has replaced their bytes by U+FFFD, so they would name other
 * files, and a command would get other arguments.
 */
import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { notUtf8, RENAME, REPLACEMENT } from '../base/utf8-path.js';
import { EXEC_FAILED } from '../exec/run.js';
import { AS_URL, looksLikeTarget } from '../mount/options/mount-target.js';

/** The remedy for a mount that another program has made at such a place. */
const UMOUNT = 'umount(8) and fusermount3 -u take such a path.';
const SCRIPT = 'nfs-fuse exec cannot pass it on: put the command into a script.';

/** Throws UserError if one of the arguments, as Node shows it, differs from the bytes that were given. */
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

/** The given arguments that are UTF-8, also those that really contain U+FFFD. Undefined: there is no /proc. */
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
