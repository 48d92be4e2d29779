/** Datagrams to a unix socket, for which Node has no API, through koffi. */
import { constants } from 'node:os';
import koffi from 'koffi';

// null: the symbols of the running process itself.
const libc = koffi.load(null);
const cSocket = libc.func('int socket(int domain, int type, int protocol)');
const cSendto = libc.func(
  'long sendto(int fd, const void *data, size_t size, int flags, const void *address, uint32_t length)',
);
const cClose = libc.func('int close(int fd)');

const AF_UNIX = 1;
/** SOCK_DGRAM, closed on exec, and never waiting. */
const TYPE = 2 | 0o2000000 | 0o4000;
const MSG_NOSIGNAL = 0x4000;
/** sun_path of unix(7) with the zero at its end. */
const PATH_BYTES = 108;

/** 'busy': the receiver has not read earlier ones yet. 'failed': there is none, or it is out of reach. */
export type Sent = 'sent' | 'busy' | 'failed';

/** Sends one datagram. `to`: a path, or a name in the abstract namespace behind "@". */
export function sendDatagram(to: string, message: string): Sent {
  const address = socketAddress(to);
  if (address === undefined) return 'failed';
  const fd = cSocket(AF_UNIX, TYPE, 0) as number;
  if (fd < 0) return 'failed';
  try {
    const data = Buffer.from(message);
    const sent = Number(cSendto(fd, data, data.length, MSG_NOSIGNAL, address, address.length));
    if (sent === data.length) return 'sent';
    return koffi.errno() === constants.errno.EAGAIN ? 'busy' : 'failed';
  } finally {
    cClose(fd);
  }
}

/** struct sockaddr_un, as long as the name is. Undefined: the name has no room. */
function socketAddress(to: string): Buffer | undefined {
  const isAbstract = to.startsWith('@');
  const name = Buffer.from(isAbstract ? `\0${to.slice(1)}` : `${to}\0`);
  if (name.length > PATH_BYTES) return undefined;
  const family = new Uint16Array([AF_UNIX]);
  return Buffer.concat([new Uint8Array(family.buffer), name]);
}
