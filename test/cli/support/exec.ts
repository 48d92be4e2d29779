/** Waits for the end of a mount of `nfs-fuse exec`. */
import { mountsOf } from '../../support/mount.js';
import type { Place } from '../../support/places.js';
import { until } from '../../support/process.js';
import { watchersOf } from '../../support/watchers.js';

export const PATIENCE_MS = 60_000;

/** Waits until nothing is mounted on `mnt` and no watcher runs. */
export async function isOver(place: Place, mnt: string): Promise<void> {
  const isMounted = () => mountsOf(place.namespacePid).some(({ path }) => path === mnt);
  await until('it is unmounted', () => !isMounted(), PATIENCE_MS);
  await until('nobody watches', () => watchersOf(mnt).length === 0, PATIENCE_MS);
}
