/** The rates of a mount in an interval, from its counters at both ends. */
import type { ToldStats } from './asking.js';

/** Averages are of the replies of the interval, 0 without any. */
export interface ProcedureRates {
  readonly program: string;
  readonly procedure: string;
  /** Calls that had a reply. */
  readonly operations: number;
  readonly opsPerSecond: number;
  /** Calls and replies, in kilobytes of 1024 bytes. */
  readonly kBPerSecond: number;
  readonly kBPerOp: number;
  readonly retransmissions: number;
  readonly errors: number;
  /** From the first sending of a call to its reply, in milliseconds. */
  readonly rttMs: number;
  /** From the call to its reply, the queue of the client included, in milliseconds. */
  readonly executionMs: number;
}

export interface IntervalRates {
  readonly pid: number;
  /** The length of the interval. */
  readonly seconds: number;
  /** The interval began with the mount, or when its process had begun. */
  readonly sinceMount: boolean;
  /** Another process serves the mount than at the beginning; the interval began with that process. */
  readonly newProcess: boolean;
  readonly opsPerSecond: number;
  readonly kBPerSecond: number;
  readonly retransmissions: number;
  /** Those that were called, the busiest first. */
  readonly procedures: readonly ProcedureRates[];
}

type Counts = ToldStats['procedures'][number];

/** A shorter interval would make rates of nothing. */
const LEAST_SECONDS = 0.001;
const KILOBYTE = 1024;

/**
 * The rates between two answers of a mount; without an earlier one, since the mount. If another process serves it by now, its
 * counters have started again, and the rates are since then: no number is negative.
 */
export function ratesOf(now: ToldStats, before?: ToldStats): IntervalRates {
  const same = before !== undefined && isSameProcess(now, before) ? before : undefined;
  const earlier = new Map(same === undefined ? [] : proceduresOf(same).map((one) => [keyOf(one), one]));
  const seconds = Math.max(
    LEAST_SECONDS,
    servedSeconds(now) - (same === undefined ? 0 : servedSeconds(same)),
  );
  const procedures = proceduresOf(now)
    .map((one) => procedureRates(one, earlier.get(keyOf(one)), seconds))
    .filter(({ operations, retransmissions, errors }) => operations + retransmissions + errors > 0)
    .sort((one, other) => other.operations - one.operations);
  const sum = (of: (one: ProcedureRates) => number) => procedures.reduce((all, one) => all + of(one), 0);
  return {
    pid: now.pid,
    seconds,
    sinceMount: before === undefined,
    newProcess: before !== undefined && same === undefined,
    opsPerSecond: sum(({ opsPerSecond }) => opsPerSecond),
    kBPerSecond: sum(({ kBPerSecond }) => kBPerSecond),
    retransmissions: sum(({ retransmissions }) => retransmissions),
    procedures,
  };
}

function procedureRates(now: Counts, before: Counts | undefined, seconds: number): ProcedureRates {
  const gained = (of: (counts: Counts) => number | undefined): number =>
    numberOr0(of(now)) - (before === undefined ? 0 : numberOr0(of(before)));
  const operations = gained(({ replies }) => replies);
  const kilobytes = gained(({ bytesSent, bytesReceived }) => bytesSent + bytesReceived) / KILOBYTE;
  const perOperation = (total: number) => (operations === 0 ? 0 : total / operations);
  return {
    program: now.program,
    procedure: now.procedure,
    operations,
    opsPerSecond: operations / seconds,
    kBPerSecond: kilobytes / seconds,
    kBPerOp: perOperation(kilobytes),
    retransmissions: gained(({ retransmits }) => retransmits),
    errors: gained(({ errors }) => errors),
    rttMs: perOperation(gained(({ rtt }) => rtt)),
    executionMs: perOperation(gained(({ execution }) => execution)),
  };
}

/** A process id may come again; then the counters tell, since they only go up. */
function isSameProcess(now: ToldStats, before: ToldStats): boolean {
  if (now.pid !== before.pid || servedSeconds(now) < servedSeconds(before)) return false;
  const present = new Map(proceduresOf(now).map((one) => [keyOf(one), one]));
  return proceduresOf(before).every((old) => {
    const one = present.get(keyOf(old));
    return one !== undefined && one.calls >= old.calls && one.replies >= old.replies;
  });
}

function proceduresOf({ procedures, locks }: ToldStats): readonly Counts[] {
  return [...procedures, ...(locks?.procedures ?? [])];
}

function keyOf({ program, procedure }: Counts): string {
  return `${program} ${procedure}`;
}

/** A process of an older version tells whole seconds of its own age. */
function servedSeconds({ servedMilliseconds, uptimeSeconds }: ToldStats): number {
  return numberOr0(servedMilliseconds) > 0 ? servedMilliseconds / 1_000 : numberOr0(uptimeSeconds);
}

function numberOr0(value: number | undefined): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}
