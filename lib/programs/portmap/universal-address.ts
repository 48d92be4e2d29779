/** Universal addresses (RFC 5665 section 5.2.3): an IP address and a port as one text, "192.0.2.1.8.1". */
import net from 'node:net';
import { XdrError } from '../../xdr/xdr-error.js';

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** The address in its usual spelling, followed by the two bytes of the port as numbers. */
export function formatUniversalAddress({ host, port }: HostPort): string {
  if (net.isIP(host) === 0) throw new RangeError(`${host} is not an IP address`);
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw new RangeError(`${port} is not a port`);
  return `${host}.${port >> 8}.${port & 255}`;
}

/** Throws XdrError for a text that is no universal address of an IP version. */
export function parseUniversalAddress(address: string): HostPort {
  const match = /^(.+)\.(\d{1,3})\.(\d{1,3})$/.exec(address);
  const host = match?.[1] ?? '';
  const high = Number(match?.[2]);
  const low = Number(match?.[3]);
  if (match === null || net.isIP(host) === 0 || high > 255 || low > 255) {
    throw new XdrError(`${JSON.stringify(address.slice(0, 80))} is not a universal address`);
  }
  return { host, port: high * 256 + low };
}
