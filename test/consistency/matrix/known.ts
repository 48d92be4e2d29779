/** The one race in which a mount may be staler than Linux's own client: the matrix names it, and allows a few cases. */
import type { Pass } from './program.js';

/**
 * The lookup of a link shows that its directory was changed, and the kernel is told to forget the missing name that the
 * link leads to: by another thread, and in some of five thousand cases too late for a path walk that is already there.
 */
const THROUGH_A_LINK = /^[^/]+\/(create|mkdir|symlink|link-here|rename-here)\/by-link-/;
/** More cases than this in one pass are no race. */
export const MOST_RACES = 4;

export function isRace(pass: Pass, name: string, outcome: string): boolean {
  return pass === 'at-once' && THROUGH_A_LINK.test(name) && outcome.startsWith('ENOENT');
}
