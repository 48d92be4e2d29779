/** A client of a server that does what the test says, in real time. */
import type { Test } from 'tap';
import { RpcClient, type RpcClientOptions } from '../../../lib/rpc/client/client.js';
import { serverAndClient, type WireServer } from './wire-server.js';

export function connected(
  t: Test,
  options: Partial<RpcClientOptions> = {},
): Promise<{ readonly server: WireServer; readonly client: RpcClient }> {
  return serverAndClient(t, (port) => RpcClient.connect({ host: '127.0.0.1', port, ...options }));
}
