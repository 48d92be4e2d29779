/** The cases of the range matrix. */

import { atTier } from '../../support/tier.js';
import { AREAS } from './areas.js';
import { COMBINATIONS } from './combinations.js';
import { FLOCKS, KINDS_TOGETHER } from './flocks.js';
import { DESCRIPTORS, PROCESSES } from './processes.js';
import type { Case } from './steps.js';
import { WAITS } from './waits.js';

/** Those that are written by hand. */
export const SCENARIOS: readonly Case[] = [
  ...PROCESSES,
  ...DESCRIPTORS,
  ...WAITS,
  ...FLOCKS,
  ...KINDS_TOGETHER,
  ...AREAS,
];

export const ALL_CASES: readonly Case[] = [...SCENARIOS, ...COMBINATIONS];

/** One combination in this many still has each kind, each owner and each area among them. */
const EVERY = 11;

/** For a run that must be short. */
export const FEWER_CASES: readonly Case[] = [
  ...SCENARIOS,
  ...COMBINATIONS.filter((_, index) => index % EVERY === 0),
];

/** All cases, or fewer. `inCi`: whether CI runs all of them on this server. */
export function casesOfTier(inCi: boolean): readonly Case[] {
  return atTier({ fast: FEWER_CASES, ci: inCi ? ALL_CASES : FEWER_CASES, all: ALL_CASES });
}
