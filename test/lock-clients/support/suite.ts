/** The range matrix on two mounts of one export. */
import type { Test } from 'tap';
import { Mount, type MountSource } from '../../support/mount.js';
import { openPlace } from '../../support/places.js';
import { untilEnd } from '../../support/until-end.js';
import { bedIn, localBed } from './beds.js';
import { casesOfTier } from './cases.js';
import { differencesOn, type LockServer } from './differences.js';
import { compare, type Difference } from './judge.js';
import type { Bed } from './runner.js';
import type { Case } from './steps.js';

/** Both clients of a bed. */
export interface Mounts {
  readonly a: Mount;
  readonly b: Mount;
}

/** Mounts an export twice; both end with the test. */
export async function mountTwice(
  t: Test,
  source: MountSource,
  options: readonly string[] = [],
): Promise<Mounts> {
  const place = untilEnd(t, await openPlace('root'));
  const mount = async (): Promise<Mount> => untilEnd(t, await Mount.start({ source, place, options }));
  return { a: await mount(), b: await mount() };
}

/** Two mounts answer as a local folder does, but for the differences that are known of the server, all of which show. */
export async function answersAsLocal(t: Test, server: LockServer, source: MountSource): Promise<void> {
  const { a, b } = await mountTwice(t, source);
  const differences = differencesOn(server);
  const met = await answersRight(t, bedIn(t, a.path, b.path), differences, casesOfTier(server === 'ganesha'));
  const unmet = differences.filter((one) => !met.has(one));
  t.same(
    unmet.map(({ of, step }) => `${of}: ${step}`),
    [],
    'every difference shows',
  );
  if (!t.passing()) t.comment(`the mounts said:\n${a.log}${b.log}`);
}

/** The clients of a bed answer as a local folder does, but for differences; returns those that were met. */
export async function answersRight(
  t: Test,
  bed: Bed,
  differences: readonly Difference[],
  cases: readonly Case[],
): Promise<ReadonlySet<Difference>> {
  const { wrong, met } = await compare(localBed(t), bed, cases, differences);
  t.same(wrong, [], `${cases.length} cases`);
  return met;
}
