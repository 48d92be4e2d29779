/**
 * Plans of the fault proxy: which fault meets which record. A plan is asked about every record, in the order in which they
 * arrive on a connection and direction, and answers with a fault or with nothing.
 *
 * A seeded plan answers from the seed, the number of the connection, the direction and the number of the record:
 * the same traffic meets the same faults.
 */
import { SeededRandom } from './seeded-random.js';

export type Direction = 'call' | 'reply';

export type Fault =
  /** The record never arrives. TCP itself loses nothing: `cutAfter` ms later the connection is cut, if given. */
  | { readonly kind: 'drop'; readonly cutAfter?: number }
  | { readonly kind: 'delay'; readonly ms: number }
  /** The record arrives `times` times in a row; 2 unless told otherwise. */
  | { readonly kind: 'duplicate'; readonly times?: number }
  /** The record is overtaken by the next `by` ones, but waits no longer than `ms` for them. */
  | { readonly kind: 'reorder'; readonly by: number; readonly ms: number }
  /** The message loses its end, and its record mark agrees: only the contents show it. */
  | { readonly kind: 'truncate'; readonly length: number }
  /** Bits of the message flip, one in each of these places (0 to 1 of its length); the record mark stays. */
  | { readonly kind: 'corrupt'; readonly places: readonly number[] }
  /** These bytes arrive in place of the record: no record at all, or one that nobody has asked for. */
  | { readonly kind: 'garbage'; readonly bytes: Buffer }
  /** The first `bytes` of the record arrive, and then the connection is reset. 0: nothing of it does. */
  | { readonly kind: 'cut'; readonly bytes: number }
  /** The connection is reset, and so are new ones for `ms`. The record is lost. */
  | { readonly kind: 'refuse'; readonly ms: number }
  /** Nothing passes in either direction of any connection for `ms`. */
  | { readonly kind: 'pause'; readonly ms: number };

export interface RecordInfo {
  readonly direction: Direction;
  /** The number of the connection, from 0. */
  readonly connection: number;
  /** The number of the record among those of its connection and direction, from 0. */
  readonly index: number;
  readonly procedure: string | undefined;
  /** Its length on the wire. */
  readonly length: number;
}

export interface FaultPlan {
  decide(record: RecordInfo): Fault | undefined;
}

/** Nothing happens. */
export const NO_FAULTS: FaultPlan = { decide: () => undefined };

/** How many of 1000 records meet each kind of fault. */
export type FaultRates = { readonly [kind in Fault['kind']]?: number };

/** Some of every fault that a hard mount must survive without any program noticing. */
export const ROUGH: FaultRates = {
  drop: 4,
  delay: 30,
  duplicate: 30,
  reorder: 40,
  cut: 4,
  refuse: 1,
  pause: 1,
};

/** The kinds in an order of their own, so that the rates' order in a literal does not matter. */
export const KINDS = [
  'drop',
  'delay',
  'duplicate',
  'reorder',
  'truncate',
  'corrupt',
  'garbage',
  'cut',
  'refuse',
  'pause',
] as const;
const PER = 1000;
const MOST_GARBAGE = 128 * 1024;

/** A plan that a seed determines. `spare` names procedures ("MOUNT.MNT") that meet no fault. */
export function seededPlan(seed: number, rates: FaultRates, spare: readonly string[] = []): FaultPlan {
  const streams = new Map<string, SeededRandom>();
  const stream = ({ connection, direction }: RecordInfo): SeededRandom => {
    const key = `${connection} ${direction}`;
    const known = streams.get(key) ?? new SeededRandom(seed, connection, direction === 'call' ? 1 : 2);
    streams.set(key, known);
    return known;
  };
  return {
    decide(record) {
      const random = stream(record);
      // The same number of draws for every record: the fault of one does not shift the faults of others.
      let left = random.below(PER);
      const [first, second] = [random.fraction(), random.fraction()];
      if (record.procedure !== undefined && spare.includes(record.procedure)) return undefined;
      for (const kind of KINDS) {
        const rate = rates[kind] ?? 0;
        if (left < rate)
          return isFair(kind, record) ? makeFault(kind, first, second, record.length) : undefined;
        left -= rate;
      }
      return undefined;
    },
  };
}

/**
 * Servers need not remember WRITEs, so that a second copy may be carried out after the WRITE that replaced the
 * first. No stream duplicates a call by itself.
 */
function isFair(kind: Fault['kind'], { direction, procedure }: RecordInfo): boolean {
  return kind !== 'duplicate' || direction === 'reply' || procedure !== 'NFS.WRITE';
}

function makeFault(kind: Fault['kind'], first: number, second: number, length: number): Fault {
  switch (kind) {
    case 'drop':
      return { kind, cutAfter: Math.floor(first * 60) };
    case 'delay':
      return { kind, ms: Math.floor(first * first * 40) };
    case 'duplicate':
      return { kind, times: first < 0.8 ? 2 : 3 };
    case 'reorder':
      return { kind, by: 1 + Math.floor(first * 3), ms: 2 + Math.floor(second * 15) };
    case 'truncate':
      return { kind, length: Math.floor(first * length) };
    case 'corrupt':
      return { kind, places: [first, second, (first + second) / 2].slice(0, 1 + Math.floor(first * 3)) };
    case 'garbage':
      return { kind, bytes: garbage(first, second) };
    case 'cut':
      return { kind, bytes: first < 0.3 ? 0 : Math.floor(second * length) };
    case 'refuse':
      return { kind, ms: Math.floor(first * 150) };
    case 'pause':
      return { kind, ms: Math.floor(first * 100) };
  }
}

/** Half the time the first record mark is one that could be, so that more of the stream is looked at. */
function garbage(first: number, second: number): Buffer {
  const random = new SeededRandom(first * 2 ** 32, second * 2 ** 32);
  const bytes = random.bytes(random.between(1, MOST_GARBAGE));
  if (bytes.length > 4 && random.oneIn(2)) bytes.writeUInt32BE(0x8000_0000 + random.below(MOST_GARBAGE), 0);
  return bytes;
}

/** The first fault in the list whose turn it is. Each fault meets `times` records (1 by default) of a direction and procedure. */
export function scriptedPlan(
  script: readonly {
    readonly direction: Direction;
    /** Without it: any procedure. */
    readonly procedure?: string;
    /** The number of matching records that pass first. */
    readonly skip?: number;
    readonly times?: number;
    readonly fault: Fault;
  }[],
): FaultPlan {
  const steps = script.map((step) => ({ step, toSkip: step.skip ?? 0, left: step.times ?? 1 }));
  return {
    decide({ direction, procedure }) {
      for (const state of steps) {
        const { step } = state;
        if (state.left === 0 || step.direction !== direction) continue;
        if (step.procedure !== undefined && step.procedure !== procedure) continue;
        if (state.toSkip > 0) {
          state.toSkip -= 1;
          continue;
        }
        state.left -= 1;
        return step.fault;
      }
      return undefined;
    },
  };
}
