/** The counters of a session: requests by opcode, error answers by errno, and faults of the file system. */
import { Latencies, type LatencyCounts } from '../../base/latencies.js';
import { errnoName } from '../contract/errno.js';
import { MAX_ERRNO, opcodeName } from '../contract/protocol.js';

/** The counts of a session since it began. */
export interface SessionCounters {
  /** Requests by opcode name, FORGET and INTERRUPT included. */
  readonly requests: Readonly<Record<string, number>>;
  /** Error answers by errno name. */
  readonly errors: Readonly<Record<string, number>>;
  /** Requests whose operation has not answered yet. */
  readonly inFlight: number;
  /** Operations that threw something else than a {@link FuseError}. */
  readonly faults: number;
  /**
   * The times from the arrival of a request to its answer, by opcode name. Undefined: they are not measured. Requests without
   * an answer, and those that were left to another process, are not among them.
   */
  readonly latencies?: Readonly<Record<string, LatencyCounts>> | undefined;
}

/** Opcodes from here on are counted together, in slot 0. */
const OPCODE_SLOTS = 64;

/** The counts of one session, which only it changes. */
export class SessionCounts {
  readonly #requests: number[] = new Array<number>(OPCODE_SLOTS).fill(0);
  readonly #latencies: (Latencies | undefined)[] = new Array<undefined>(OPCODE_SLOTS).fill(undefined);
  readonly #errors: number[] = new Array<number>(MAX_ERRNO + 1).fill(0);
  /** Operations that threw something else than a FuseError. */
  faults = 0;

  request(opcode: number): void {
    const slot = opcode < OPCODE_SLOTS ? opcode : 0;
    this.#requests[slot] = (this.#requests[slot] ?? 0) + 1;
  }

  /** A request was answered, so many milliseconds after its arrival. */
  answered(opcode: number, milliseconds: number): void {
    const slot = opcode < OPCODE_SLOTS ? opcode : 0;
    const latencies = this.#latencies[slot] ?? new Latencies();
    this.#latencies[slot] = latencies;
    latencies.add(milliseconds);
  }

  /** An error answer is sent; `errno` is positive. */
  error(errno: number): void {
    this.#errors[errno] = (this.#errors[errno] ?? 0) + 1;
  }

  /** The counts by name. `inFlight` operations have not answered yet. */
  counters(inFlight: number): SessionCounters {
    return {
      requests: byName(this.#requests, opcodeName),
      errors: byName(this.#errors, errnoName),
      inFlight,
      faults: this.faults,
      latencies: Object.fromEntries(
        this.#latencies.flatMap((latencies, opcode) =>
          latencies === undefined ? [] : [[opcodeName(opcode), latencies.counts()]],
        ),
      ),
    };
  }
}

function byName(counts: readonly number[], name: (number: number) => string): Record<string, number> {
  const named: Record<string, number> = {};
  counts.forEach((count, number) => {
    if (count > 0) named[name(number)] = count;
  });
  return named;
}
