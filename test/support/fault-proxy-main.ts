/**
 * The fault proxy from a command line, to try a client against a bad network by hand:
 *
 *   node --import=tsx test/support/fault-proxy-main.ts SERVERPORT [LISTENPORT] [SEED] [RATES]
 *
 * SERVERPORT and LISTENPORT are ports of 127.0.0.1. RATES say how many of 1000 records meet a fault
 * ("drop=5,delay=50"); without them it is rough throughout. Faults go to standard error; SIGINT or SIGTERM ends it
 * with its counters on standard output.
 */
import { type FaultRates, KINDS, ROUGH, seededPlan } from './fault-plan.js';
import { FaultProxy } from './fault-proxy.js';

const USAGE = 'usage: fault-proxy-main.ts SERVERPORT [LISTENPORT] [SEED] [kind=PER1000,...]';

/** Throws an Error that says what is wrong. */
function number(text: string, what: string, most: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > most) {
    throw new Error(`${what} is "${text}": it must be an integer from 0 to ${most}`);
  }
  return value;
}

function rates(text: string | undefined): FaultRates {
  if (text === undefined) return ROUGH;
  return Object.fromEntries(
    text.split(',').map((part) => {
      const [kind = '', rate = ''] = part.split('=');
      if (!KINDS.some((known) => known === kind))
        throw new Error(`"${kind}" is no fault: there are ${KINDS.join(', ')}`);
      return [kind, number(rate, kind, 1000)];
    }),
  );
}

try {
  const [serverPort, listenPort = '0', seedText = String(Date.now() % 2 ** 31), ratesText] =
    process.argv.slice(2);
  if (serverPort === undefined) throw new Error(USAGE);
  const upstream = number(serverPort, 'SERVERPORT', 65535);
  const port = number(listenPort, 'LISTENPORT', 65535);
  const seed = number(seedText, 'SEED', 2 ** 31);
  const log = (line: string) => console.error(line);
  const proxy = await FaultProxy.start({ upstream, port, plan: seededPlan(seed, rates(ratesText)), log });
  console.log(`127.0.0.1 port ${proxy.port} -> port ${upstream}, seed ${seed}`);
  const end = () => {
    console.log(JSON.stringify(proxy.counters));
    process.exit(0);
  };
  process.once('SIGINT', end).once('SIGTERM', end);
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
