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
    // A user who may not have the file that was there is refused by the kernel before it learns that the name is gone
    // or means something else: another error, not another outcome.
    pass: 'at-once',
    combinations:
      /^(read|wrote|hold-read|hold-write|mapped)\/(unlink|rmdir|to-directory|link-dangling)\/other-/,
    shows: /^EACCES/,
  },
  {
    // Below a directory that another client has replaced by a symbolic link, where only missing names were asked for.
    pass: 'at-once',
    combinations: /^others-missing\/dir-to-link\/below-/,
    shows: /^ENOENT/,
  },
  {
    // The lookup of the link shows that the directory was changed, and the kernel is told to forget the missing name that
    // the link leads to: by another thread, and now and then too late for a path walk that is already there.
    pass: 'at-once',
    combinations: /^[^/]+\/(create|mkdir|symlink|link-here|rename-here)\/by-link-/,
    shows: /^ENOENT/,
  },
  {
    // A file that is held open here: the kernel may decide by the mode that it had, once, also after the timeout.
    pass: 'later',
    combinations: /^(hold-read|hold-write|mapped)\/[^/]+\/other-/,
    shows: /^(EACCES|may=)/,
  },
];

export function isKnown(pass: Pass, name: string, outcome: string): boolean {
  return WEAKNESSES.some(
    (weakness) => weakness.pass === pass && weakness.combinations.test(name) && weakness.shows.test(outcome),
  );
}
