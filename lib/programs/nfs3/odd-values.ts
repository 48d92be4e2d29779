/**
 * Values in replies that no server should send, and that are mended or left out instead of making a whole directory
 * unreadable. Owns their count: of all servers that this process talks to, which for a mount is one.
 */

export interface OddValues {
  /** Times of 10^9 nanoseconds or more, shown as the last nanosecond of their second. */
  nanoseconds: number;
  /** Attributes whose file type is none of the seven (RFC 1813 2.5 ftype3): they count as not sent. */
  fileTypes: number;
  /** Handles of directory entries longer than the protocol allows: they count as not sent. */
  handles: number;
  /** Names in directories that no program could use: empty, too long, with "/" or NUL. They are left out. */
  names: number;
}

/** Only ever counted up. */
export const oddValues: OddValues = { nanoseconds: 0, fileTypes: 0, handles: 0, names: 0 };
