/** A mount whose process is of another version than the program that asks: after a death this one may not know its state. */
import { printable } from '../../base/log.js';
import { packageInfo } from '../../base/package-info.js';

/**
 * A clause that names the version which serves the mount, and the remedy. Undefined: it is this one, or an old one that does not tell.
 */
export function otherVersion(served: unknown, own = packageInfo().version): string | undefined {
  if (typeof served !== 'string' || served === own) return undefined;
  return `served by version ${printable(served)}, and this is ${own}: nfs-fuse restart lets this one go on`;
}
