/**
 * The callers that `nfs-fuse serve` trusts. Owns what follows from its options and from its own user, which options are
 * refused because the server could not keep them, and the sentence at the start that describes the trust.
 */

import { UserError } from '../base/user-error.js';
import { canActAsCallers, isRootOutside, isUnprivilegedPortFree, NOBODY } from '../server/index.js';

export interface TrustOptions {
  readonly rootSquash: boolean;
  readonly noRootSquash: boolean;
  readonly allSquash: boolean;
  readonly secure: boolean;
  readonly insecure: boolean;
}

export interface Trust {
  /** The server acts as each caller's user. Otherwise it acts as its own user for all callers. */
  readonly actsAsCallers: boolean;
  readonly rootSquash: boolean;
  readonly allSquash: boolean;
  readonly reservedPortsOnly: boolean;
}

/**
 * Decides which callers to trust. Like exports(5), squashes root and demands reserved ports unless the options say otherwise.
 * A server without privilege acts as its own user, and its callers usually cannot have a reserved port. Throws UserError.
 */
export function decideTrust(options: TrustOptions): Trust {
  const actsAsCallers = canActAsCallers();
  const isRoot = isRootOutside();
  const uid = process.geteuid?.();
  const [unkept] = Object.entries({ 'root-squash': options.rootSquash, 'all-squash': options.allSquash })
    .filter(([, wanted]) => wanted && !actsAsCallers)
    .map(([name]) => name);
  if (unkept !== undefined)
    throw new UserError(
      `--${unkept} cannot be kept: this process (uid ${uid}) may not act as other users, and carries out every call as its own.`,
      {
        remedy:
          'Run the server as root of the machine or of a container with a range of users, or leave the option out.',
      },
    );
  if (isRoot && !actsAsCallers && !options.noRootSquash)
    throw new UserError(
      'This server runs as root and may not act as other users here: everybody who connects would be root.',
      {
        remedy:
          'Start it as the user whose files it serves, give it the capabilities SETUID and SETGID, or add --no-root-squash if everybody may be root.',
      },
    );
  const reservedPortsOnly = options.secure || (!options.insecure && (actsAsCallers || isRoot));
  if (reservedPortsOnly && isUnprivilegedPortFree())
    throw new UserError(
      'A port below 1024 proves nothing here: net.ipv4.ip_unprivileged_port_start lets every program have one.',
      { remedy: 'Add --insecure to believe every program that can connect, or set it to 1024.' },
    );
  return {
    actsAsCallers,
    rootSquash: actsAsCallers && !options.noRootSquash,
    allSquash: options.allSquash,
    reservedPortsOnly,
  };
}

/** The trust in one sentence. `isLoopback`: other machines cannot reach the server. */
export function describeTrust(trust: Trust, isLoopback: boolean): string {
  const where = isLoopback ? 'this machine' : 'every machine that reaches it';
  const programs = `every program of ${where} that can connect${trust.reservedPortsOnly ? ' from a port below 1024' : ''}`;
  return `Trusted: ${programs} ${identityOf(trust)}.`;
}

function identityOf({ actsAsCallers, rootSquash, allSquash }: Trust): string {
  if (!actsAsCallers)
    return `acts as this server's own user (uid ${process.geteuid?.()}), whatever user it claims to be`;
  if (allSquash) return `acts as nobody (uid ${NOBODY}), whatever user it claims to be`;
  if (rootSquash) return `acts as the user that it claims to be, root and group 0 as nobody (${NOBODY})`;
  return 'acts as the user that it claims to be, root included';
}
