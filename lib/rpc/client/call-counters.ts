/** The counters of the RPC client, per procedure and per client. Numbers only go up. */
import { Latencies, type LatencyCounts } from '../../base/latencies.js';
import type { Procedure } from '../wire/procedure.js';

export interface ProcedureCounters {
  /** The program's and the procedure's names: "NFS", "LOOKUP". */
  readonly program: string;
  readonly procedure: string;
  calls: number;
  /** Times a call was sent again. */
  retransmits: number;
  /** Bytes of messages, retransmissions included, record marks not. */
  bytesSent: number;
  bytesReceived: number;
  /** Calls that have had a reply. */
  replies: number;
  /** Sum of the times from first sending to reply, in milliseconds. */
  rtt: number;
  /** Sum of the times from the call to its reply, in milliseconds: those in the queue of this client included. */
  execution: number;
  /** The times that {@link rtt} sums up, by their length. */
  readonly latencies: Latencies;
  /** The times that {@link execution} sums up, by their length. */
  readonly executions: Latencies;
  /** Calls that ended in an RpcError, of whatever kind. NFS statuses are results, not errors. */
  errors: number;
}

/** The counters of a procedure at one moment. */
export type ProcedureCounts = Readonly<Omit<ProcedureCounters, 'latencies' | 'executions'>> & {
  readonly latencies: LatencyCounts;
  /** Undefined: a process of an older version has not counted them. */
  readonly executions?: LatencyCounts | undefined;
};

export interface ClientCounters {
  /** Replies to no call of ours. */
  badXids: number;
  /** Replies that came after the caller had given up. */
  lateReplies: number;
  /** Messages that were not an RPC reply, and replies with a result that cannot be decoded. */
  garbage: number;
  /** Connections established after the first. */
  reconnects: number;
  /** Major timeouts. */
  majorTimeouts: number;
}

export class Counters implements ClientCounters {
  badXids = 0;
  lateReplies = 0;
  garbage = 0;
  reconnects = 0;
  majorTimeouts = 0;
  readonly #byProcedure = new Map<object, ProcedureCounters>();

  of<Arguments, Result>(procedure: Procedure<Arguments, Result>): ProcedureCounters {
    const known = this.#byProcedure.get(procedure);
    if (known !== undefined) return known;
    const fresh: ProcedureCounters = {
      program: procedure.program.name,
      procedure: procedure.name,
      calls: 0,
      retransmits: 0,
      bytesSent: 0,
      bytesReceived: 0,
      replies: 0,
      rtt: 0,
      execution: 0,
      latencies: new Latencies(),
      executions: new Latencies(),
      errors: 0,
    };
    this.#byProcedure.set(procedure, fresh);
    return fresh;
  }

  /** Those of every procedure that was called at least once, as they are now. */
  procedures(): ProcedureCounts[] {
    return [...this.#byProcedure.values()].map((one) => ({
      ...one,
      latencies: one.latencies.counts(),
      executions: one.executions.counts(),
    }));
  }
}
