/** The cases of the range matrix. */
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

/** All cases, or fewer. */
export function casesOfTier(): readonly Case[] {
  return process.env.NFS_FUSE_TEST_TIER === 'fast' ? FEWER_CASES : ALL_CASES;
}
