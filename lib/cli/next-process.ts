/**
 * The command line with which another process goes on with this mount, should this one die. Owns that it means the same
 * wherever and whenever it is read.
 */
import { LOG_LEVELS } from '../base/log.js';
import type { LogStyle } from './log-arguments.js';

export interface NextProcess {
  /** The texts of -o, as this process has understood them. */
  readonly options: readonly string[];
  readonly debug: readonly string[];
  /** Absolute. */
  readonly logFile: string | undefined;
  readonly style: LogStyle;
  /** As --metrics has it; a path is absolute. */
  readonly metrics: string | undefined;
  readonly target: string;
  /** Absolute, or /dev/fd/N. */
  readonly mountpoint: string;
}

/** The arguments of `nfs-fuse` for the next process. */
export function nextArguments(next: NextProcess): string[] {
  const { options, debug, logFile, style, metrics, target, mountpoint } = next;
  const optional = (name: string, value: string | undefined) => (value === undefined ? [] : [name, value]);
  return [
    'mount',
    ...options.flatMap((text) => ['-o', text]),
    ...debug.flatMap((topic) => ['--debug', topic]),
    ...optional('--log-file', logFile),
    ...optional('--log-format', style.format),
    ...optional('--log-level', style.level === LOG_LEVELS[0] ? undefined : style.level),
    ...optional('--metrics', metrics),
    target,
    mountpoint,
  ];
}
