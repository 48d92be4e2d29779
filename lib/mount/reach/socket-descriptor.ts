/** The descriptor of a connected socket, which Node keeps to itself. */
import type { Socket } from 'node:net';

/** A part of Node's sockets that its documentation does not name. */
interface WithHandle {
  readonly _handle?: { readonly fd?: unknown } | null;
}

/** Undefined: it is closed. The number stays the socket's: it is for asking the kernel, at once. */
export function descriptorOf(socket: Socket): number | undefined {
  const fd = (socket as unknown as WithHandle)._handle?.fd;
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
}
