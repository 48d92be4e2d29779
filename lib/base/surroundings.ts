/**
 * Things that the surroundings of this process lack: free descriptors, or a working directory. Such a lack shows as an
 * error of any operation that was tried at that moment. This file imports nothing of the program, so that it can report the lack
 * even where the program cannot be loaded.
 */

import { readdirSync, readFileSync } from 'node:fs';

/** The fault and its remedy. */
export interface Lack {
  readonly message: string;
  readonly remedy: string;
}

const LACKS: Readonly<Record<string, Lack>> = {
  EMFILE: {
    message: 'Too many open files: this process may not open any more (EMFILE).',
    remedy: 'Raise the limit (ulimit -n, LimitNOFILE= of systemd, --ulimit nofile= of podman and docker).',
  },
  ENFILE: {
    message: 'Too many open files: this machine has no descriptor left (ENFILE).',
    remedy: 'End programs that hold many files, or raise fs.file-max.',
  },
};
const NO_WORKING_DIRECTORY: Lack = {
  message: 'The working directory does not exist any more.',
  remedy: 'Go to another directory, or name files and mount points from the root on.',
};

/** The lack that `error` or one of its causes reports. Undefined: it reports something else. */
export function lackBehind(error: unknown): Lack | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code, syscall } = cause as NodeJS.ErrnoException;
    if (syscall === 'uv_cwd' && code === 'ENOENT') return NO_WORKING_DIRECTORY;
    // Errors of lib/fuse have the errno's name in their message only.
    const name = code ?? '';
    const known = LACKS[name] ?? LACKS[/\b(EMFILE|ENFILE)\b/.exec(cause.message)?.[0] ?? ''];
    if (known !== undefined) return known;
  }
  return undefined;
}

/** Descriptors that must be free to load the program, which opens its files side by side. */
const NEEDED_TO_LOAD = 128;

/**
 * The lack of descriptors that may have kept the program from being loaded: Node then reports a module as missing. Undefined:
 * there are enough descriptors.
 */
export function tooFewDescriptors(): Lack | undefined {
  try {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
    const used = readdirSync('/proc/self/fd').length;
    return limit !== undefined && Number(limit) - used < NEEDED_TO_LOAD ? LACKS.EMFILE : undefined;
  } catch (error) {
    return lackBehind(error);
  }
}

/** The working directory, or the root if it was removed: for callers that need just any directory. */
export function anyWorkingDirectory(): string {
  try {
    return process.cwd();
  } catch {
    return '/';
  }
}
