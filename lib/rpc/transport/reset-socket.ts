/** Ends a TCP connection at once, in any state. */
import type { Socket } from 'node:net';

/**
 * Ends it with a reset where that is possible. While a shutdown is under way (the peer has ended its side, and ours
 * follows by itself) libuv refuses a reset, and Node then neither closes the descriptor nor emits 'close'.
 */
export function resetSocket(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
