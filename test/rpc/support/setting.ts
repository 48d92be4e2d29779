/** A client with a clock that a test turns by hand, and a server that does what the test says. */
import type { Test } from 'tap';
import { RpcClient, type RpcClientOptions } from '../../../lib/rpc/client/client.js';
import { ManualClock } from './manual-clock.js';
import { WireServer } from './wire-server.js';

export interface Setting {
  readonly server: WireServer;
  readonly client: RpcClient;
  readonly clock: ManualClock;
  readonly log: string[];
}

export async function setting(t: Test, options: Partial<RpcClientOptions> = {}): Promise<Setting> {
  const server = new WireServer();
  await server.listen();
  const clock = new ManualClock();
  const log: string[] = [];
  const client = new RpcClient({
    host: '127.0.0.1',
    port: server.port,
    clock,
    random: () => 0,
    log: (message) => log.push(message),
    ...options,
  });
  t.teardown(async () => {
    client.close();
    await server.close();
  });
  return { server, client, clock, log };
}
