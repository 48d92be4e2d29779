/** The descriptor of a connected socket, which Node's documented interface does not give. */
import type { Socket } from 'node:net';

/** A part of Node's sockets that its documentation does not name. */
interface WithHandle {
  readonly _handle?: { readonly fd?: unknown } | null;
}

/** Undefined: the socket is closed. The socket still owns the descriptor, so use it at once, and do not close it. */
export function descriptorOf(socket: Socket): number | undefined {
  const fd = (socket as unknown as WithHandle)._handle?.fd;
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
}
