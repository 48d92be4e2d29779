/**
 * The command line with which another process goes on with this mount, should this one die. Owns that it means the same
 * wherever and whenever it is read.
 */
export interface NextProcess {
  /** The texts of -o, as this process has understood them. */
  readonly options: readonly string[];
  readonly debug: readonly string[];
  /** Absolute. */
  readonly logFile: string | undefined;
  readonly target: string;
  /** Absolute, or /dev/fd/N. */
  readonly mountpoint: string;
}

/** The arguments of `nfs-fuse` for the next process. */
export function nextArguments({ options, debug, logFile, target, mountpoint }: NextProcess): string[] {
  return [
    'mount',
    ...options.flatMap((text) => ['-o', text]),
    ...debug.flatMap((topic) => ['--debug', topic]),
    ...(logFile === undefined ? [] : ['--log-file', logFile]),
    target,
    mountpoint,
  ];
}
