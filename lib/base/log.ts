/** Where the lines for the user go, and in which form: the terminal, a log file, and both at a time. */
import { writeSync } from 'node:fs';

/** Where messages for the user go: one line each. */
export interface Logger {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** The least important first. */
export const LOG_LEVELS = ['info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/**
 * Forms of a line: time, level and message; the same as an object of JSON; or the message behind the priority that systemd's
 * journal reads from standard error (sd-daemon(3)).
 */
export const LOG_FORMATS = ['text', 'json', 'journal'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export type LogSink = (level: LogLevel, message: string) => void;

export function loggerTo(...sinks: readonly LogSink[]): Logger {
  const to = (level: LogLevel) => (message: string) => {
    for (const sink of sinks) sink(level, message);
  };
  return { info: to('info'), warn: to('warn'), error: to('error') };
}

/** Standard error, as "nfs-fuse: message". */
export const standardError: LogSink = (_level, message) => {
  process.stderr.write(`nfs-fuse: ${printable(message)}\n`);
};

/** Appends lines to an open file. A full disk must not end the mount. */
export function fileSink(
  descriptor: number,
  format: LogFormat = 'text',
  now: () => Date = () => new Date(),
): LogSink {
  return (level, message) => {
    try {
      writeSync(descriptor, logLine(format, level, message, now()));
    } catch {
      // There is no better place to complain.
    }
  };
}

/** One message in a form, with the newline. In the journal a message of several lines is as many entries. */
export function logLine(format: LogFormat, level: LogLevel, message: string, time: Date): string {
  const text = printable(message);
  switch (format) {
    case 'text':
      return `${time.toISOString()} ${level} ${text}\n`;
    case 'json':
      return `${JSON.stringify({ time: time.toISOString(), level, message: text })}\n`;
    case 'journal':
      return text.replace(/^/gm, `<${PRIORITIES[level]}>`).concat('\n');
  }
}

/** As syslog(3) numbers them. */
const PRIORITIES: Readonly<Record<LogLevel, number>> = { info: 6, warn: 4, error: 3 };

/** Passes on what is at least so important. */
export function fromLevel(least: LogLevel, sink: LogSink): LogSink {
  const from = LOG_LEVELS.indexOf(least);
  return (level, message) => {
    if (LOG_LEVELS.indexOf(level) >= from) sink(level, message);
  };
}

/** Names come from the server: control characters in them must not reach the terminal. */
export function printable(text: string): string {
  return text.replace(
    /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

/** The errno's name of a system error, or its message. */
export function errorCode(error: unknown): string {
  if (error instanceof Error) return (error as NodeJS.ErrnoException).code ?? error.message;
  return String(error);
}
