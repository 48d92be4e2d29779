/** Beds for the range matrix: two clients whose workers are started in a folder each. */
import type { Test } from 'tap';
import { exportFolder } from '../../support/folders.js';
import { LockWorkers } from '../../support/locks/workers.js';
import { untilEnd } from '../../support/until-end.js';
import type { Bed } from './runner.js';

/** Workers in two folders that show the same files, or in one. They end with the test. */
export function bedIn(t: Test, a: string, b = a): Bed {
  return { a: untilEnd(t, LockWorkers.start(a)), b: untilEnd(t, LockWorkers.start(b)) };
}

/** Both clients in one new local folder: what a single machine makes of the cases. */
export function localBed(t: Test): Bed {
  return bedIn(t, untilEnd(t, exportFolder()).path);
}
