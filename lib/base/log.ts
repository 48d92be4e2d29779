/** Where the lines for the user go: the terminal, a log file, and both at a time. */
import { writeSync } from 'node:fs';

/** Where messages for the user go: one line each. */
export interface Logger {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

export type LogLevel = 'info' | 'warn' | 'error';
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

/** Appends lines with time and level to an open file. A full disk must not end the mount. */
export function fileSink(descriptor: number, now: () => Date = () => new Date()): LogSink {
  return (level, message) => {
    try {
      writeSync(descriptor, `${now().toISOString()} ${level} ${printable(message)}\n`);
    } catch {
      // There is no better place to complain.
    }
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
