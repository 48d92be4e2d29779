/**
 * Signals that end a process by default and mean nothing to a mount: they must not take along what is not written back.
 * Signals that the kernel sends for a fault of the process itself (SIGSEGV, SIGABRT …) stay as they are.
 */
import { ignoreSignal } from './process-calls.js';

/** signal(7), with both names of those that have two: Node tells a signal by the name under which it is waited for. */
const MEANINGLESS: readonly NodeJS.Signals[] = [
  'SIGALRM',
  'SIGUSR1',
  'SIGUSR2',
  'SIGVTALRM',
  'SIGPROF',
  'SIGIO',
  'SIGPOLL',
  'SIGXCPU',
  'SIGXFSZ',
  'SIGPIPE',
  'SIGPWR',
  'SIGSTKFLT',
];
/** Real-time signals, for which Node has no names. The first ones belong to the C library, which keeps them. */
const REAL_TIME = { first: 32, last: 64 } as const;

const doNothing = (): void => {};

/**
 * From now on, and as long as this process lives, these signals have no effect. Their handlers are Node's, so that
 * programs that this process starts get the default back.
 */
export function shieldFromSignals(more: readonly NodeJS.Signals[] = []): void {
  for (const signal of [...MEANINGLESS, ...more]) process.on(signal, doNothing);
  for (let number = REAL_TIME.first; number <= REAL_TIME.last; number++) ignoreSignal(number);
}
