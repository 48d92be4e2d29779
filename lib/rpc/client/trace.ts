/** One line per call and per reply, for people who watch what goes to a server. */
import type { Clock } from '../../base/clock.js';
import type { Procedure } from '../wire/procedure.js';
import type { Settle } from './pending-call.js';

export type Trace = (line: string) => void;

/** Traces one call: writes the line of its beginning, and that of its end before it settles. */
export class TracedCall<Result> implements Settle<Result> {
  readonly #trace: Trace;
  readonly #clock: Clock;
  readonly #name: string;
  readonly #settle: Settle<Result>;
  #begun = 0;

  constructor(
    trace: Trace,
    clock: Clock,
    procedure: Pick<Procedure<never, Result>, 'program' | 'name'>,
    xid: number,
    settle: Settle<Result>,
  ) {
    this.#trace = trace;
    this.#clock = clock;
    this.#name = `${procedure.program.name} ${procedure.name} #${(xid >>> 0).toString(16)}`;
    this.#settle = settle;
  }

  /** The call is encoded, in this many bytes. */
  begin(bytes: number): void {
    this.#begun = this.#clock.now();
    this.#trace(`> ${this.#name} ${bytes} bytes`);
  }

  resolve(result: Result): void {
    this.#trace(`< ${this.#name} ${statusOf(result)} ${this.#took()}`);
    this.#settle.resolve(result);
  }

  reject(error: Error): void {
    this.#trace(`! ${this.#name} ${error.message} ${this.#took()}`);
    this.#settle.reject(error);
  }

  #took(): string {
    return `${(this.#clock.now() - this.#begun).toFixed(1)} ms`;
  }
}

/** The results of NFS and MOUNT begin with a status; those of other programs have none. */
function statusOf(result: unknown): string {
  if (typeof result !== 'object' || result === null || !('status' in result)) return 'ok';
  return result.status === 0 ? 'ok' : `status ${String(result.status)}`;
}
