/** Crowds of programs on mounts behind a bad network: how they are run, and what is expected of each (crowd.py). */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { FaultDatagrams } from '../../support/fault-datagrams.js';
import { type FaultPlan, type FaultRates, NO_FAULTS, seededPlan } from '../../support/fault-plan.js';
import type { FaultProxy } from '../../support/fault-proxy.js';
import { publicFolder } from '../../support/folders.js';
import type { Mount } from '../../support/mount.js';
import { mustRun, until } from '../../support/process.js';
import { projectRoot, python } from '../../support/project.js';
import { untilEnd } from '../../support/until-end.js';

const PROGRAM = join(projectRoot, 'test/lock-clients/support/crowd.py');
const FILES = 3;
/** Of each thread. */
const OPERATIONS = 20;
/** On each mount. */
const PROCESSES = 2;
/** A crowd waits for lost calls most of the time. */
const AT_A_TIME = 4;
/** Each client meets faults of its own. */
const NEXT_CLIENT = 100_000;

/** A mount, and what stands between it and the server. */
export interface CrowdedClient {
  readonly mount: Mount;
  readonly network: FaultProxy | FaultDatagrams;
}

export interface Ground {
  /** The exported folder. */
  readonly directory: string;
  readonly clients: readonly CrowdedClient[];
  readonly rates: FaultRates;
  /** Nobody holds a lock at the server, and nobody waits for one there. */
  readonly isEmpty: () => boolean | Promise<boolean>;
  /** Changes what a plan says. */
  readonly adapt?: (plan: FaultPlan) => FaultPlan;
  /** Happens while the crowd works. */
  readonly meanwhile?: (seed: number) => Promise<void>;
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
  const { directory, clients, rates, adapt = (plan) => plan, isEmpty, meanwhile } = ground;
  for (let number = 0; number < FILES; number++) writeFileSync(join(directory, String(number)), '');
  const marks = untilEnd(t, publicFolder());
  const folders = clients.map(({ mount }) => mount.path);
  for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
    for (const [place, { network }] of clients.entries())
      network.plan = adapt(seededPlan(seed + place * NEXT_CLIENT, rates));
    const sizes = [OPERATIONS, PROCESSES].map(String);
    const crowd = mustRun([python, PROGRAM, String(seed), ...sizes, marks.path, ...folders], {
      timeoutMs: 300_000,
    });
    const [said] = await Promise.all([crowd, meanwhile?.(seed)]);
    t.match(said, /^had [1-9]\d* interrupted \d+ died \d+\n$/, `seed ${seed}`);
    for (const { network } of clients) network.plan = NO_FAULTS;
    await until(`no lock is left after seed ${seed}`, isEmpty);
  }
}
