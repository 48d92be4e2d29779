/** The argument of --metrics: where a mount answers a scraper. */
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { UserError } from '../../base/user-error.js';

/** An address and port of TCP, or the path of a Unix socket. */
export type EndpointAddress = { readonly host: string; readonly port: number } | { readonly socket: string };

const LOOPBACK = '127.0.0.1';
const MOST_PORT = 65_535;
/** sun_path of unix(7), less the zero at its end. */
const MOST_SOCKET_BYTES = 107;
const FORMS =
  'Write PORT (of 127.0.0.1), ADDRESS:PORT, [IPv6]:PORT, or the path of a socket with a slash in it.';

/** A port alone is one of loopback; a relative path begins at the working directory. @throws UserError */
export function parseEndpointAddress(text: string): EndpointAddress {
  if (text.includes('/')) {
    const socket = resolve(text);
    if (Buffer.byteLength(socket) <= MOST_SOCKET_BYTES) return { socket };
    throw new UserError(`--metrics=${text}: a socket's path has at most ${MOST_SOCKET_BYTES} bytes.`, {
      remedy: 'Name a shorter path.',
    });
  }
  const [, bracketed, plain, digits = ''] = /^(?:(?:\[([^\]]*)\]|([^:]*)):)?(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? (plain === undefined || plain === '' || plain === 'localhost' ? LOOPBACK : plain);
  const port = Number(digits);
  const family = bracketed === undefined ? 4 : 6;
  if (digits === '' || port < 1 || port > MOST_PORT || isIP(host) !== family)
    throw new UserError(`--metrics=${text} is no address and port, and no path.`, { remedy: FORMS });
  return { host, port };
}

/** As it is written in a URL or a message. */
export function endpointText(address: EndpointAddress): string {
  if ('socket' in address) return address.socket;
  const { host, port } = address;
  return `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
}
