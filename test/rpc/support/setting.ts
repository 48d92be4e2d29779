/** A client with a clock that a test turns by hand, and a server that does what the test says. */
import type { Test } from 'tap';
import { RpcClient, type RpcClientOptions } from '../../../lib/rpc/client/client.js';
import { ManualClock } from './manual-clock.js';
import { serverAndClient, type WireServer } from './wire-server.js';

export interface Setting {
  readonly server: WireServer;
  readonly client: RpcClient;
  readonly clock: ManualClock;
  readonly log: string[];
}

export async function setting(t: Test, options: Partial<RpcClientOptions> = {}): Promise<Setting> {
  const clock = new ManualClock();
  const log: string[] = [];
  const made = await serverAndClient(
    t,
    (port) =>
      new RpcClient({
        host: '127.0.0.1',
        port,
        clock,
        random: () => 0,
        log: (message) => log.push(message),
        ...options,
      }),
  );
  return { ...made, clock, log };
}
