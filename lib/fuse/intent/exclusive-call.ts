/**
 * System calls that make a new name, as /proc/TID/syscall shows them: which of their arguments say where, and whether a
 * lookup is about the name that is to be made. Pure.
 */

/** A path in the memory of a thread, and the directory from which it starts if it is relative. */
export interface PathArgument {
  readonly address: number;
  /** A descriptor of the thread, or its working directory. */
  readonly from: number | 'cwd';
}

/** A call that fails if the last name of its path exists already, and follows no symbolic link there. */
export interface ExclusiveCall {
  readonly path: PathArgument;
  /** mkdir(2): the path may end in a slash. */
  readonly makesDirectory: boolean;
  /** link(2): the path of what is there already, which the kernel looks up before. */
  readonly existing: PathArgument | undefined;
}

/** A path without its last name. */
export interface LastPlace {
  readonly isAbsolute: boolean;
  /** Relative to the starting directory, or to the root; a character for each byte. Empty: that directory itself. */
  readonly directory: string;
}

interface CallForm {
  /** Places of the arguments. `from` undefined: the working directory. */
  readonly path: number;
  readonly from?: number;
  readonly flags?: number;
  readonly makesDirectory?: boolean;
  readonly existing?: { readonly path: number; readonly from?: number };
  /** The flags are those of linkat(2), all of which change how the existing path is looked up. */
  readonly needsNoFlags?: number;
}

const OPENAT: CallForm = { from: 0, path: 1, flags: 2 };
const MKDIRAT: CallForm = { from: 0, path: 1, makesDirectory: true };
const MKNODAT: CallForm = { from: 0, path: 1 };
const SYMLINKAT: CallForm = { from: 1, path: 2 };
const LINKAT: CallForm = { existing: { from: 0, path: 1 }, from: 2, path: 3, needsNoFlags: 4 };

/** By the number of the call. openat2(2) is left out: its flags are in memory. */
const CALLS: Readonly<Record<string, Readonly<Record<number, CallForm>>>> = {
  x64: {
    2: { path: 0, flags: 1 },
    83: { path: 0, makesDirectory: true },
    86: { existing: { path: 0 }, path: 1 },
    88: { path: 1 },
    133: { path: 0 },
    257: OPENAT,
    258: MKDIRAT,
    259: MKNODAT,
    265: LINKAT,
    266: SYMLINKAT,
  },
  arm64: { 33: MKNODAT, 34: MKDIRAT, 36: SYMLINKAT, 37: LINKAT, 56: OPENAT },
};

const O_CREAT = 0o100;
const O_EXCL = 0o200;
/** With O_PATH the kernel ignores O_CREAT. O_DIRECTORY is one of the other two, by the processor. */
const OTHER_MEANING = 0o10000000 | 0o200000 | 0o40000;
const AT_FDCWD = -100;

/** Number, six arguments, stack pointer, program counter: see proc_pid_syscall of Linux. */
const SHOWN = /^(\d+)((?: 0x[0-9a-f]+){8})\s*$/;

/**
 * The call in the text of /proc/TID/syscall; undefined: another call, or it is not certain that it is this one. The
 * numbers of 32-bit programs mean other calls. Such a call has no argument that needs more than 32 bits, also where
 * a 64-bit program makes it (int 0x80), so addresses below 4 GiB are not accepted.
 */
export function exclusiveCall(shown: string, architecture: string): ExclusiveCall | undefined {
  const [, number, rest = ''] = SHOWN.exec(shown) ?? [];
  const form = number === undefined ? undefined : CALLS[architecture]?.[Number(number)];
  if (form === undefined) return undefined;
  const words = rest.trim().split(' ');
  // Threads that the kernel has made for a program (io_uring) show a copy of somebody's arguments, and no stack.
  if (addressIn(words[6]) === undefined) return undefined;
  if (form.flags !== undefined) {
    const flags = intIn(words[form.flags]);
    if ((flags & O_CREAT) === 0 || (flags & O_EXCL) === 0 || (flags & OTHER_MEANING) !== 0) return undefined;
  }
  if (form.needsNoFlags !== undefined && intIn(words[form.needsNoFlags]) !== 0) return undefined;
  const path = argument(words, form);
  const existing = form.existing && argument(words, form.existing);
  if (path === undefined || (form.existing !== undefined && existing === undefined)) return undefined;
  return { path, existing, makesDirectory: form.makesDirectory === true };
}

function argument(
  words: readonly string[],
  { path, from }: { readonly path: number; readonly from?: number },
): PathArgument | undefined {
  const address = addressIn(words[path]);
  if (address === undefined) return undefined;
  const descriptor = from === undefined ? AT_FDCWD : intIn(words[from]);
  if (descriptor === AT_FDCWD) return { address, from: 'cwd' };
  return descriptor < 0 ? undefined : { address, from: descriptor };
}

/** An argument of type int: the upper half of the register may hold anything. */
function intIn(word = ''): number {
  return Number.parseInt(word.slice(2).slice(-8), 16) | 0;
}

/** An address from 4 GiB to 256 TiB. */
function addressIn(word = ''): number | undefined {
  const digits = word.slice(2);
  return digits.length > 8 && digits.length <= 12 ? Number.parseInt(digits, 16) : undefined;
}

/**
 * Where the last name of `path` is to be made, if this is `name`, and if no other part of the path could be what is looked
 * up under this name. Symbolic links on the way can: they are to be excluded by walking the way. Both texts have a
 * character for each byte.
 */
export function placeOf(path: string, name: string, mayEndInSlash: boolean): LastPlace | undefined {
  const end = mayEndInSlash ? path.replace(/\/+$/, '') : path;
  const slash = end.lastIndexOf('/');
  if (name === '' || end.slice(slash + 1) !== name || name === '.' || name === '..') return undefined;
  const directory = end.slice(0, slash + 1);
  const steps = directory.split('/');
  if (steps.includes('..') || steps.includes(name)) return undefined;
  const way = steps.filter((step) => step !== '' && step !== '.');
  return { isAbsolute: path.startsWith('/'), directory: way.join('/') };
}

/**
 * Whether the kernel looks `name` up on the way to the existing path of link(2). Only an existing path that has the
 * directory of the new one, of which the way is walked anyway, is certain not to.
 */
export function existingIsApart(
  { path, existing }: ExclusiveCall,
  pathText: string,
  existingText: string,
  name: string,
): boolean {
  const slash = existingText.lastIndexOf('/') + 1;
  const last = existingText.slice(slash);
  if (last === '' || last === name || last === '.' || last === '..') return false;
  if (existingText.slice(0, slash) !== pathText.slice(0, pathText.lastIndexOf('/') + 1)) return false;
  return existingText.startsWith('/') || existing?.from === path.from;
}
