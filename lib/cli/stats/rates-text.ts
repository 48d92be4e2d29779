/** The rates of an interval, for people: in the manner of nfsiostat(8). */
import { shownName } from '../../base/shown-name.js';
import type { IntervalRates, ProcedureRates } from './rates.js';

/** These always have a row, also without a call. */
const ALWAYS = ['READ', 'WRITE'];
/** Beside them, so many of the busiest. */
const BUSIEST = 3;
const HEADER = 'Call             ops/s        kB/s       kB/op   Resent  Errors   RTT (ms)  Exec (ms)';

/** `all`: every procedure that was called has a row. `time`: that of the report, as it is shown. Safe for a terminal. */
export function ratesText(
  where: { readonly source: string; readonly mountpoint: string },
  rates: IntervalRates,
  { all, time }: { readonly all: boolean; readonly time: string },
): string {
  const { seconds, sinceMount, newProcess, opsPerSecond, kBPerSecond, retransmissions } = rates;
  const since = sinceMount
    ? ' since the mount'
    : newProcess
      ? ` since process ${rates.pid} took it over`
      : '';
  const lines = [
    `${time} ${where.source} on ${where.mountpoint}, ${seconds.toFixed(1)} s${since}: ` +
      `${opsPerSecond.toFixed(1)} ops/s, ${kBPerSecond.toFixed(1)} kB/s, ${retransmissions} resent`,
    HEADER,
    ...rowsOf(rates.procedures, all).map(row),
  ];
  return `${lines.map(shownName).join('\n')}\n\n`;
}

function rowsOf(procedures: readonly ProcedureRates[], all: boolean): ProcedureRates[] {
  const isAlways = ({ program, procedure }: ProcedureRates) =>
    program === 'NFS' && ALWAYS.includes(procedure);
  const others = procedures.filter((one) => !isAlways(one));
  return [
    ...ALWAYS.map(
      (name) => procedures.find((one) => isAlways(one) && one.procedure === name) ?? without(name),
    ),
    ...(all ? others : others.slice(0, BUSIEST)),
  ];
}

function without(procedure: string): ProcedureRates {
  const none = { operations: 0, opsPerSecond: 0, kBPerSecond: 0, kBPerOp: 0, retransmissions: 0, errors: 0 };
  return { program: 'NFS', procedure, ...none, rttMs: 0, executionMs: 0 };
}

function row(one: ProcedureRates): string {
  const cell = (value: number, width: number, digits: number) => value.toFixed(digits).padStart(width);
  return (
    String(one.procedure).padEnd(12) +
    cell(one.opsPerSecond, 10, 1) +
    cell(one.kBPerSecond, 12, 1) +
    cell(one.kBPerOp, 12, 1) +
    cell(one.retransmissions, 9, 0) +
    cell(one.errors, 8, 0) +
    cell(one.rttMs, 11, 2) +
    cell(one.executionMs, 11, 2)
  );
}
