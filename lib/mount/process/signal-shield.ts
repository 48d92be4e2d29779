/**
 * Makes signals harmless that end a process by default and mean nothing to a mount: data that is not written back would be
 * lost with the process. Signals for a fault of the process itself (SIGSEGV, SIGABRT …) keep their effect.
 */
import { ignoreSignal } from './process-calls.js';

/** From signal(7). A signal with two names is listed under both: Node reports it by the name that a listener used. */
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
/** Real-time signals, for which Node has no names. The C library keeps the first ones for itself. */
const REAL_TIME = { first: 32, last: 64 } as const;

const doNothing = (): void => {};

/**
 * From now on these signals have no effect on this process. The handlers are Node's, so programs that this process starts
 * have the default handlers again. `more`: further signals to ignore.
 */
export function shieldFromSignals(more: readonly NodeJS.Signals[] = []): void {
  for (const signal of [...MEANINGLESS, ...more]) process.on(signal, doNothing);
  for (let number = REAL_TIME.first; number <= REAL_TIME.last; number++) ignoreSignal(number);
}
