/**
 * Data that programs on two clients change under locks: a counter in a file, and an sqlite database with a rollback journal. A
 * lock that two have at the same time, or data from before a lock, loses some of what was done.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Mount } from '../../support/mount.js';
import { mustRun } from '../../support/process.js';
import { projectRoot, python } from '../../support/project.js';
import { atTier } from '../../support/tier.js';
import { bedIn } from './beds.js';
import { clientOf } from './steps.js';
import type { Mounts } from './suite.js';

/** How often each process adds 1. */
const ROUNDS = atTier({ fast: 40, ci: 500, all: 2_000 });
/** How long each writer of the database goes on. */
const SECONDS = atTier({ fast: 3, ci: 8, all: 20 });
/** More than any machine needs. */
export const SHARED_DATA_TIMEOUT_MS = 900_000;

const PROCESSES = ['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'b3', 'b4'] as const;

/** Four processes on each mount add to one counter. `result`: the exported folder, as the server has it. */
export async function countTogether(t: Test, { a, b }: Mounts, result: string): Promise<void> {
  const bed = bedIn(t, a.path, b.path);
  writeFileSync(join(a.path, 'counter'), '0\n');
  const counting = PROCESSES.map(async (name) => {
    const client = bed[clientOf(name)];
    await client.spawn(name);
    return client.begin(name, 'count', 'counter', ROUNDS).answer;
  });
  t.same(
    await Promise.all(counting),
    PROCESSES.map(() => ({ ok: null })),
  );
  const total = readFileSync(join(result, 'counter'), 'utf8').trim();
  t.equal(total, String(ROUNDS * PROCESSES.length), 'every addition is there');
}

const program = (...args: readonly string[]): Promise<string> =>
  mustRun([python, join(projectRoot, 'test/lock-clients/support/shared-database.py'), ...args], {
    timeoutMs: SHARED_DATA_TIMEOUT_MS,
  });

/** One writer on each mount adds rows to one sqlite database. `result`: the exported folder, as the server has it. */
export async function writeDatabaseTogether(t: Test, { a, b }: Mounts, result: string): Promise<void> {
  const database = (mount: Mount): string => join(mount.path, 'database');
  await program('create', database(a));
  const write = async (mount: Mount, writer: string): Promise<number> =>
    Number(await program('write', database(mount), writer, String(SECONDS)));
  const [ofA, ofB] = await Promise.all([write(a, 'a'), write(b, 'b')]);
  t.comment(`${ofA} and ${ofB} transactions in ${SECONDS} s`);
  const expected = {
    integrity: 'ok',
    rows: [
      ['a', ofA, ofA],
      ['b', ofB, ofB],
    ],
  };
  for (const path of [database(a), database(b), join(result, 'database')]) {
    t.same(JSON.parse(await program('check', path)), expected, 'no row is lost');
  }
}
