/** Where a mount is known to be staler than Linux's own client, and why: named by the test, and not its failure. */
import type { Pass } from './program.js';

interface Weakness {
  readonly pass: Pass;
  readonly combinations: RegExp;
  /** The result of the mount in such a combination. */
  readonly shows: RegExp;
}

const WEAKNESSES: readonly Weakness[] = [
  {
    // After this mount has read or written a file the kernel asks for its attributes before it next uses them, and is
    // answered from memory. AT_STATX_FORCE_SYNC looks like any stat(2) then: FUSE_GETATTR does not say why it asks.
    pass: 'at-once',
    combinations: /^(read|wrote|hold-read|hold-write|mapped)\/[^/]+\/statx-forced$/,
    shows: /^type=/,
  },
  {
    // So does the question that comes before the kernel refuses a user. The second attempt is answered by the server.
    pass: 'at-once',
    combinations: /^(read|wrote|hold-read|hold-write|mapped)\/[^/]+\/other-/,
    shows: /^(EACCES|may=)/,
  },
  {
    // The first look below a directory that another client has removed finds nothing; the next one looks it up again.
    pass: 'at-once',
    combinations: /^others-missing\/(dir-to-file\/below-link|dir-to-link\/below-access)$/,
    shows: /^ENOENT/,
  },
  {
    // A file that is held open here: the kernel may decide by the mode that it had, once, also after the timeout.
    pass: 'later',
    combinations: /^(hold-read|hold-write|mapped)\/[^/]+\/other-/,
    shows: /^(EACCES|may=)/,
  },
  {
    // The kernel takes the end of a file that is held open from itself (lseek(2), SEEK_END), and asks nobody.
    pass: 'later',
    combinations: /^(hold-read|hold-write)\/[^/]+\/held-(end|write)$/,
    shows: /^(end|at)=/,
  },
];

export function isKnown(pass: Pass, name: string, outcome: string): boolean {
  return WEAKNESSES.some(
    (weakness) => weakness.pass === pass && weakness.combinations.test(name) && weakness.shows.test(outcome),
  );
}
