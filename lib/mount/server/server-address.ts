/** Which address of a server is used. */
import { lookup } from 'node:dns/promises';
import { UserError } from '../../base/user-error.js';
import type { ClientConfig } from '../../vfs/config.js';
import type { MountRequest } from '../options/mount-options.js';

/**
 * Where proto=tcp6 or udp6 asks for it, the host's name gives way to its address of that family.
 * @throws UserError where there is no such address.
 */
export async function withAddress(request: MountRequest): Promise<ClientConfig> {
  const { client, addressFamily } = request;
  if (addressFamily === undefined) return client;
  try {
    const { address, family } = await lookup(client.host, { family: addressFamily });
    // An address is not looked up: it comes back as it is, whatever its family.
    if (family !== addressFamily) throw new Error(`${address} is an address of IPv${family}`);
    return { ...client, host: address };
  } catch (error) {
    throw new UserError(`The server ${client.host} has no IPv${addressFamily} address.`, {
      remedy: `Use proto=${client.proto}, or give the server's IPv6 address.`,
      cause: error,
    });
  }
}
