/** Whether an address is among the clients of an export, as far as the list alone shows (exports(5)). */
import { BlockList, isIP, isIPv4 } from 'node:net';

/** 'unknown': only the server can resolve names, netgroups and wildcards. */
export type Membership = 'yes' | 'no' | 'unknown';

/** `clients`: as EXPORT of the MOUNT protocol lists them. An empty list means everybody. */
export function membership(clients: readonly string[], address: string): Membership {
  if (clients.length === 0) return 'yes';
  const own = plainAddress(address);
  let answer: Membership = 'no';
  for (const client of clients) {
    const one = matches(client.trim(), own);
    if (one === 'yes') return 'yes';
    if (one === 'unknown') answer = 'unknown';
  }
  return answer;
}

/** Without a scope, and as IPv4 if a socket for both families shows the IPv4 address within an IPv6 address. */
function plainAddress(address: string): string {
  const [bare = ''] = address.split('%');
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1] ?? bare;
}

function matches(client: string, address: string): Membership {
  if (client === '*' || client === '(everyone)' || client === '0.0.0.0/0') return 'yes';
  const [network = '', mask] = client.split('/');
  const version = isIP(network);
  if (version === 0) return 'unknown';
  if (version !== isIP(address)) return 'no';
  const family = version === 4 ? 'ipv4' : 'ipv6';
  const bits = mask === undefined ? (version === 4 ? 32 : 128) : prefixLength(mask);
  if (bits === undefined || bits > (version === 4 ? 32 : 128)) return 'unknown';
  const block = new BlockList();
  block.addSubnet(network, bits, family);
  return block.check(address, family) ? 'yes' : 'no';
}

/** The prefix length that "24" or "255.255.255.0" means. Undefined: the text is neither form. */
function prefixLength(mask: string): number | undefined {
  if (/^\d{1,3}$/.test(mask)) return Number(mask);
  if (!isIPv4(mask)) return undefined;
  const bits = mask
    .split('.')
    .map((part) => Number(part).toString(2).padStart(8, '0'))
    .join('');
  return /^1*0*$/.test(bits) ? bits.indexOf('0') + (bits.includes('0') ? 0 : 33) : undefined;
}
