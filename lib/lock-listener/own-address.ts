/** The address of this machine at which a server sees it. */
import dgram from 'node:dgram';
import { isIPv6 } from 'node:net';

/** The source address that the kernel would choose for packets to `server`, an IP address. Nothing is sent. Rejects where there is no way. */
export function ownAddressTowards(server: string): Promise<string> {
  const socket = dgram.createSocket(isIPv6(server) ? 'udp6' : 'udp4');
  return new Promise<string>((resolve, reject) => {
    socket.once('error', reject);
    socket.once('connect', () => resolve(socket.address().address));
    // Any port will do.
    socket.connect(111, server);
  }).finally(() => socket.close());
}
