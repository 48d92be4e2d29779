/** Carries a call out as the faults want it that a test has ordered. */
import type { CallVerdict } from '../rpc/server/server-procedure.js';
import { type Fault, type FaultyProcedure, omit } from './faults.js';

/** A fault wants this call neither carried out nor answered. */
export class LostCallError extends Error {}

export interface FaultyCall<Result> {
  readonly procedure: FaultyProcedure;
  readonly serve: () => Result | Promise<Result>;
  /** The failure that a fault has ordered; undefined: it has ordered none. */
  readonly failed: (fault: Fault) => Result | undefined;
  /** Takes note of what becomes of the connection after the call. */
  readonly decide: (verdict: CallVerdict) => void;
}

/** Rejects with LostCallError for a call that is to be lost. */
export async function serveWithFaults<Result>(
  faults: readonly Fault[],
  call: FaultyCall<Result>,
): Promise<Result> {
  for (const { wait } of faults) await (typeof wait === 'function' ? wait() : wait);
  const lose = faults.find((fault) => fault.lose !== undefined)?.lose;
  if (lose !== undefined) call.decide(lose === 'connection' ? 'disconnect' : 'drop');
  if (lose === 'call') throw new LostCallError();
  const failures = faults.map((fault) => call.failed(fault));
  const failure = failures.find((result) => result !== undefined);
  let result = (failure ?? (await call.serve())) as Record<string, unknown>;
  for (const fault of faults) {
    result = omit(call.procedure, result, fault);
    if (fault.alter !== undefined) result = fault.alter(result);
  }
  return result as Result;
}
