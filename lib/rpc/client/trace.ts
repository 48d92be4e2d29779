/** One line per call and per reply, for people who watch what goes to a server. */
import type { Clock } from '../../base/clock.js';
import type { Procedure } from '../wire/procedure.js';

export type Trace = (line: string) => void;

/** How a call ends. */
export interface Settle<Result> {
  readonly resolve: (result: Result) => void;
  readonly reject: (error: Error) => void;
}

/** Writes the line of a call that begins, and returns `settle` with the line of its end put before. */
export function traceCall<Arguments, Result>(
  trace: Trace,
  clock: Clock,
  procedure: Procedure<Arguments, Result>,
  xid: number,
  bytes: number,
  settle: Settle<Result>,
): Settle<Result> {
  const name = `${procedure.program.name} ${procedure.name} #${(xid >>> 0).toString(16)}`;
  const begin = clock.now();
  const took = () => `${(clock.now() - begin).toFixed(1)} ms`;
  trace(`> ${name} ${bytes} bytes`);
  return {
    resolve: (result) => {
      trace(`< ${name} ${statusOf(result)} ${took()}`);
      settle.resolve(result);
    },
    reject: (error) => {
      trace(`! ${name} ${error.message} ${took()}`);
      settle.reject(error);
    },
  };
}

/** The programs of NFS begin their results with a status; others have none. */
function statusOf(result: unknown): string {
  if (typeof result !== 'object' || result === null || !('status' in result)) return 'ok';
  return result.status === 0 ? 'ok' : `status ${String(result.status)}`;
}
