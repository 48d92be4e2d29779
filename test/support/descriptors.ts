/** Duplicates of file descriptors, for which Node has no call. */
import { openSync } from 'node:fs';
import { duplicateOver } from '../../lib/fuse/system-calls.js';

/** A second descriptor of what `fd` has open. */
export function duplicateDescriptor(fd: number): number {
  const copy = openSync('/dev/null', 'r');
  duplicateOver(fd, copy);
  return copy;
}
