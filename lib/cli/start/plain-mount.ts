/**
 * Mounts in the background whose command line the serving copy can judge alone: the command itself then loads almost nothing,
 * which is half of the time that it takes. Owns which command lines these are. All others, and those that look unusual, are
 * read by the command before it starts a copy.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { REPLACEMENT } from '../../base/utf8-path.js';

/** Options of `mount` that have a value, and that only the serving process goes by. */
const WITH_VALUE = new Set(['-o', '--options', '--idmap-uid', '--idmap-gid', '--groups', '--transport']);
const WITHOUT_VALUE = new Set(['--no-keep']);
/** Mount options by which the command itself goes: it returns early, remounts, or stays. */
const OF_THE_COMMAND = new Set(['bg', 'remount', 'debug']);
/** Environment variables by which one nfs-fuse gives another one a part to play. */
const PART = /^NFS_FUSE_(?!DEBUG$|MOUNTPOINT$|STARTER$)/;
const STANDARD_STREAMS = 3;
const O_CLOEXEC = 0o2000000;

/** Whether `args` are such a command line, and nothing about this process is unusual. */
export function isPlainMount(args: readonly string[]): boolean {
  return isPlainCommandLine(args, process.env) && !hasForeignFiles();
}

/** Whether `args` are such a command line, with these environment variables. */
export function isPlainCommandLine(args: readonly string[], env: NodeJS.ProcessEnv): boolean {
  const [command, ...rest] = args;
  if (command !== 'mount' || args.some((text) => text.includes(REPLACEMENT))) return false;
  return hasPlainArguments(rest) && !Object.keys(env).some((name) => PART.test(name));
}

function hasPlainArguments(args: readonly string[]): boolean {
  let places = 0;
  for (let at = 0; at < args.length; at++) {
    const text = args[at] ?? '';
    if (WITH_VALUE.has(text)) {
      const value = args[++at];
      if (value === undefined || value.startsWith('-') || concernsTheCommand(value)) return false;
    } else if (!text.startsWith('-')) {
      if (text.startsWith('/dev/fd/')) return false;
      places++;
    } else if (!WITHOUT_VALUE.has(text)) return false;
  }
  return places === 2;
}

function concernsTheCommand(options: string): boolean {
  return options.split(',').some((option) => OF_THE_COMMAND.has(option.split('=')[0] ?? ''));
}

/**
 * Whether a program that is started now would inherit more than the standard streams: a pipe that a mount holds never ends.
 * True also where /proc does not tell.
 */
function hasForeignFiles(): boolean {
  try {
    return readdirSync('/proc/self/fd').some((name) => Number(name) >= STANDARD_STREAMS && isInherited(name));
  } catch {
    return true;
  }
}

function isInherited(fd: string): boolean {
  let text: string;
  try {
    text = readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1');
  } catch (error) {
    // The descriptor of the listing itself is closed by now.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
  const flags = /^flags:\s*([0-7]+)$/m.exec(text)?.[1];
  return flags === undefined || (Number.parseInt(flags, 8) & O_CLOEXEC) === 0;
}
