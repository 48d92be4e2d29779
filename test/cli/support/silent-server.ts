import { createServer, type Socket } from 'node:net';
import type { Test } from 'tap';

/** A server that accepts connections, reads what comes, and never answers; it ends with the test. */
export async function silentServer(t: Test) {
  const open = new Set<Socket>();
  let accepted = 0;
  const server = createServer((socket) => {
    accepted += 1;
    open.add(socket.on('error', () => undefined));
    socket.on('close', () => open.delete(socket));
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    port,
    /** `port=…,mountport=…` */
    options: `port=${port},mountport=${port},nolock`,
    /** The connections that are open now. */
    open: () => open.size,
    /** The connections so far. */
    accepted: () => accepted,
  };
}
