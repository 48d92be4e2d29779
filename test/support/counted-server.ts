/** A server whose calls are counted, and how many of them wait for one another (round-relay.ts). */
import { mkdirSync, writeFileSync } from 'node:fs';
import type { Test } from 'tap';
import { RoundRelay } from './round-relay.js';
import { type Client, watchedServer } from './two-mounts.js';
import { untilEnd } from './until-end.js';

/** Attributes that do not run out while the test goes on, however slow the machine is. */
export const LONG = ['acregmin=600', 'acregmax=600', 'acdirmin=600', 'acdirmax=600'];

/** Calls of all procedures. */
export function total(calls: Record<string, number>): number {
  return Object.values(calls).reduce((sum, count) => sum + count, 0);
}

/** The cost of some work. */
export interface Cost {
  readonly calls: Record<string, number>;
  /** Round trips one after the other. */
  readonly rounds: number;
}

/** A watched server, with mounts through a relay that counts rounds. */
export async function countedServer(t: Test) {
  const watched = await watchedServer(t);
  const relay = untilEnd(t, await RoundRelay.start(watched.server.port));
  return {
    ...watched,
    mount: (options: readonly string[]): Promise<Client> => watched.mount([...options, `port=${relay.port}`]),
    async cost(work: () => Promise<unknown>): Promise<Cost> {
      let rounds = 0;
      const calls = await watched.calls(async () => {
        rounds = await relay.rounds(work);
      });
      return { calls, rounds };
    },
  };
}

/** A folder `tree` of so many folders, each with two files in it. */
export function makeTree(directory: string, folders: number): void {
  for (let i = 0; i < folders; i++) {
    mkdirSync(`${directory}/tree/folder${i}`, { recursive: true });
    for (const name of ['one', 'two']) writeFileSync(`${directory}/tree/folder${i}/${name}`, '');
  }
}
