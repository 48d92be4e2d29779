import type { Test } from 'tap';
import { RpcClient, type RpcClientOptions } from '../../../lib/rpc/client/client.js';
import { WireServer } from './wire-server.js';

export async function connected(
  t: Test,
  options: Partial<RpcClientOptions> = {},
): Promise<{ server: WireServer; client: RpcClient }> {
  const server = new WireServer();
  await server.listen();
  const client = await RpcClient.connect({ host: '127.0.0.1', port: server.port, ...options });
  t.teardown(async () => {
    client.close();
    await server.close();
  });
  return { server, client };
}
