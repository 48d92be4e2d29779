/**
 * The socket between `nfs-fuse exec` and the processes that serve its mount, one after the other. Every one of them inherits
 * it, so its end is the end of the mount. Owns the lines on it: a process that has taken over reports as JSON, and hears
 * `end N`: the mount has been asked N times to end.
 */
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { LogLevel } from '../../base/log.js';

/** Its number in the first process that serves the mount. */
export const OWNER = 4;

/** A report of a process that has taken over. */
export type OwnerReport =
  | { readonly type: 'log'; readonly level: LogLevel; readonly message: string }
  /** It hears from now on. */
  | { readonly type: 'serving' }
  | { readonly type: 'over'; readonly status: number };

/** The side of a process that has taken over. */
export class OwnerLink {
  #fd: number | undefined;

  /** `end` is called as often as the owner has asked for the end; once if the owner has ended itself. */
  constructor(fd: number, end: () => void) {
    this.#fd = fd;
    const socket = new Socket({ fd, writable: false });
    let heard = '';
    let asked = 0;
    const askedAtLeast = (times: number): void => {
      for (; asked < times; asked++) end();
    };
    socket.setEncoding('latin1').on('data', (text: string) => {
      heard += text;
      const lines = heard.split('\n');
      heard = lines.pop() ?? '';
      for (const line of lines) askedAtLeast(Number(/^end (\d)$/.exec(line)?.[1] ?? 0));
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      // The number may mean another file from now on.
      this.#fd = undefined;
      askedAtLeast(1);
    });
    socket.unref();
  }

  /** The descriptor, for the next process. Undefined: the owner has ended. */
  get fd(): number | undefined {
    return this.#fd;
  }

  /** The line is in the socket when this returns. */
  report(report: OwnerReport): void {
    if (this.#fd === undefined) return;
    try {
      writeSync(this.#fd, `${JSON.stringify(report)}\n`);
    } catch {
      // The owner has ended, or does not read.
    }
  }
}

/** The owner's side. */
export class OwnedMount {
  /** Resolves when no process serves the mount any more: with the status of the last one, if it has told one. */
  readonly over: Promise<number | undefined>;
  readonly #socket: Socket;
  #ends = 0;
  #isHeard = false;

  constructor(socket: Socket, log: (level: LogLevel, message: string) => void) {
    this.#socket = socket;
    let said = '';
    let status: number | undefined;
    socket.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      const lines = said.split('\n');
      said = lines.pop() ?? '';
      for (const line of lines) {
        const report = JSON.parse(line) as OwnerReport;
        if (report.type === 'log') log(report.level, report.message);
        else if (report.type === 'over') status = report.status;
        else {
          this.#isHeard = true;
          this.#ask();
        }
      }
    });
    socket.on('error', () => {});
    this.over = new Promise((resolve) => {
      socket.on('close', () => resolve(status));
    });
  }

  /** Asks a process that has taken over to end, or to end at once. It hears of it as soon as it listens. */
  end(): void {
    this.#ends += 1;
    this.#ask();
  }

  #ask(): void {
    if (this.#isHeard && this.#ends > 0 && this.#socket.writable)
      this.#socket.write(`end ${Math.min(this.#ends, 2)}\n`);
  }
}
