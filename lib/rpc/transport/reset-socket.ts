/** Ends a TCP connection at once, whatever state it is in. */
import type { Socket } from 'node:net';

/**
 * With a reset, where that is possible. While a shutdown is under way (the peer has ended its side, and ours follows
 * by itself) libuv refuses to, and Node then neither closes the descriptor nor ever emits 'close'.
 */
export function resetSocket(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
