/** Crowds of programs on mounts behind a bad network: how they are run, and what is expected of each (crowd.py). */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { FaultDatagrams } from '../../support/fault-datagrams.js';
import { type FaultPlan, type FaultRates, NO_FAULTS, ROUGH, seededPlan } from '../../support/fault-plan.js';
import type { FaultProxy } from '../../support/fault-proxy.js';
import { publicFolder } from '../../support/folders.js';
import type { Mount } from '../../support/mount.js';
import { mustRun, until } from '../../support/process.js';
import { projectRoot, python } from '../../support/project.js';
import { untilEnd } from '../../support/until-end.js';

const PROGRAM = join(projectRoot, 'test/lock-clients/support/crowd.py');
/** The names of the files that are locked. */
export const FILES = ['0', '1', '2'];
/** Of each thread. */
const OPERATIONS = 20;
/** Calls whose replies are lost are sent again soon, since a run is short. */
const TIMES = ['hard', 'timeo=5', 'retrans=1'];
/** More faults than files meet: a lock is few calls. Datagrams have no connections that break. */
export const RATES = {
  tcp: { ...ROUGH, drop: 15, delay: 80, duplicate: 60, reorder: 60, cut: 15 },
  udp: { drop: 15, delay: 80, duplicate: 60, reorder: 60 },
} as const;
/** On each mount. */
const PROCESSES = 2;
/** A crowd waits for lost calls most of the time. */
const AT_A_TIME = 4;
/** Each client meets faults of its own. */
const NEXT_CLIENT = 100_000;

/** A mount, and the bad network between it and the server if there is one. */
export interface CrowdedClient {
  readonly mount: Mount;
  readonly network?: FaultProxy | FaultDatagrams;
}

export interface Ground {
  /** The exported folder. */
  readonly directory: string;
  readonly clients: readonly CrowdedClient[];
  /** None by default. */
  readonly rates?: FaultRates;
  /** Nobody holds a lock at the server, and nobody waits for one there. */
  readonly isEmpty: () => boolean | Promise<boolean>;
  /** Changes what a plan says. */
  readonly adapt?: (plan: FaultPlan) => FaultPlan;
  /** Happens while the crowd works. */
  readonly meanwhile?: (seed: number) => Promise<void>;
  /** Of each thread. */
  readonly operations?: number;
}

/** Two mounts that reach the lock manager through a network of their own. */
export async function clientsBehind(
  t: Test,
  network: () => Promise<FaultProxy | FaultDatagrams>,
  mount: (options: readonly string[]) => Promise<Mount>,
): Promise<CrowdedClient[]> {
  const client = async (): Promise<CrowdedClient> => {
    const between = untilEnd(t, await network());
    return { network: between, mount: await mount([...TIMES, `nlmport=${between.port}`]) };
  };
  return [await client(), await client()];
}

/** Some are delayed for so long that their calls are repeated, answered and followed by others before they arrive. */
export function lateDatagrams(plan: FaultPlan): FaultPlan {
  return {
    decide(record) {
      const fault = plan.decide(record);
      return fault?.kind === 'delay' && fault.ms > 15 ? { kind: 'delay', ms: fault.ms * 40 } : fault;
    },
  };
}

/** Faults of all kinds were met: it is certain that something went wrong. */
export function metFaults(t: Test, grounds: readonly Ground[]): void {
  const met = grounds.flatMap(({ clients }) => clients.flatMap(({ network }) => network?.counters ?? []));
  for (const kind of ['dropped', 'delayed', 'duplicated', 'reordered'] as const)
    t.ok(
      met.some((counters) => counters[kind] > 0),
      kind,
    );
}

/** Whether no file of the crowds is locked in this folder of this machine. A server may lock there for its clients. */
export function isUnlocked(directory: string): boolean {
  const locks = readFileSync('/proc/locks', 'latin1');
  return FILES.every((name) => !locks.includes(`:${statSync(join(directory, name)).ino} `));
}

/** Runs a crowd for each seed, on several grounds at a time: no lock is had twice, no call fails, and all locks end with it. */
export async function crowds(
  t: Test,
  open: () => Promise<Ground>,
  seeds: readonly number[],
): Promise<readonly Ground[]> {
  const left = [...seeds];
  const grounds: Ground[] = [];
  while (grounds.length < Math.min(AT_A_TIME, left.length)) grounds.push(await open());
  await Promise.all(grounds.map((ground) => crowdsOn(t, ground, left)));
  return grounds;
}

/** Until no seeds are left. */
async function crowdsOn(t: Test, ground: Ground, seeds: number[]): Promise<void> {
  const { directory, clients, rates = {}, adapt = (plan) => plan, operations = OPERATIONS } = ground;
  for (const name of FILES) writeFileSync(join(directory, name), '');
  const marks = untilEnd(t, publicFolder());
  const folders = clients.map(({ mount }) => mount.path);
  for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
    for (const [place, { network }] of clients.entries())
      if (network !== undefined) network.plan = adapt(seededPlan(seed + place * NEXT_CLIENT, rates));
    const sizes = [operations, PROCESSES].map(String);
    const crowd = mustRun([python, PROGRAM, String(seed), ...sizes, marks.path, ...folders], {
      timeoutMs: 300_000,
    });
    const [said] = await Promise.all([crowd, ground.meanwhile?.(seed)]);
    t.match(said, /^had [1-9]\d* interrupted \d+ died \d+\n$/, `seed ${seed}`);
    for (const { network } of clients) if (network !== undefined) network.plan = NO_FAULTS;
    await until(`no lock is left after seed ${seed}`, ground.isEmpty);
  }
}
