/** `--log-format` and `--log-level`: which messages of a mount there are, and the form of their lines. */
import type { Argv } from 'yargs';
import {
  fileSink,
  fromLevel,
  LOG_FORMATS,
  LOG_LEVELS,
  type LogFormat,
  type LogLevel,
  type LogSink,
} from '../base/log.js';
import { knownName } from '../base/nearest-name.js';

const STANDARD_ERROR = 2;

export interface LogArguments {
  readonly 'log-format': string | undefined;
  readonly 'log-level': string | undefined;
}

/** The messages that are wanted. */
export interface LogStyle {
  /** Undefined: as a command speaks on standard error, and with time and level in a file. */
  readonly format: LogFormat | undefined;
  readonly level: LogLevel;
}

/** Adds these arguments to a command that mounts. */
export function withLogArguments<Arguments>(args: Argv<Arguments>): Argv<Arguments & LogArguments> {
  const single = { type: 'string', nargs: 1, requiresArg: true } as const;
  return args
    .option('log-format', {
      ...single,
      describe: `With -f or --log-file: lines with time and level, JSON, or for systemd's journal (${LOG_FORMATS.join(', ')})`,
    })
    .option('log-level', {
      ...single,
      describe: `The least important messages that are wanted: ${LOG_LEVELS.join(', ')}`,
    });
}

/** @throws UserError for names that are none */
export function logStyle(args: LogArguments): LogStyle {
  const format = args['log-format'];
  const level = args['log-level'];
  return {
    format: format === undefined ? undefined : knownName('--log-format', format, LOG_FORMATS),
    level: level === undefined ? LOG_LEVELS[0] : knownName('--log-level', level, LOG_LEVELS),
  };
}

/** Standard error in a style. `plain` is what speaks there without one. */
export function standardErrorIn({ format, level }: LogStyle, plain: LogSink): LogSink {
  return fromLevel(level, format === undefined ? plain : fileSink(STANDARD_ERROR, format));
}
