/** Chooses the address of a server. */
import { lookup } from 'node:dns/promises';
import { UserError } from '../../base/user-error.js';
import type { ClientConfig } from '../../vfs/config.js';
import type { MountRequest } from '../options/mount-options.js';

/**
 * The client's configuration; for proto=tcp6 and udp6, with the host's IPv6 address in place of its name.
 * @throws UserError if the host has no such address.
 */
export async function withAddress(request: MountRequest): Promise<ClientConfig> {
  const { client, addressFamily } = request;
  if (addressFamily === undefined) return client;
  try {
    const { address, family } = await lookup(client.host, { family: addressFamily });
    // If the host is an address already, lookup returns it whatever its family is.
    if (family !== addressFamily) throw new Error(`${address} is an address of IPv${family}`);
    return { ...client, host: address };
  } catch (error) {
    throw new UserError(`The server ${client.host} has no IPv${addressFamily} address.`, {
      remedy: `Use proto=${client.proto}, or give the server's IPv6 address.`,
      cause: error,
    });
  }
}
