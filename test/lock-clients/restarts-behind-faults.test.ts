/** A server that restarts while crowds of programs lock its files from two mounts, behind a bad network. */
import t from 'tap';
import { seeds } from '../model/seeds.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { until } from '../support/process.js';
import { clientsBehind, crowds, type Ground, metFaults, RATES } from './support/crowd.js';
import { served } from './support/served.js';

const GRACE_MS = 4_000;

t.test(
  'a server that restarts gives all locks back in its grace period',
  { timeout: 3_000_000 },
  async (t) => {
    const open = async (): Promise<Ground> => {
      const { server, mount, ...ground } = await served(t, { locks: { grace: GRACE_MS } });
      const network = () => FaultProxy.start({ upstream: server.port });
      const clients = await clientsBehind(t, network, mount);
      const meanwhile = async (seed: number): Promise<void> => {
        const enough = server.counters.NM_LOCK + 20 + (seed % 7) * 20;
        await until('the crowd is at work', () => server.counters.NM_LOCK >= enough && server.locks.held > 0);
        await server.restart();
      };
      return { ...ground, clients, rates: RATES.tcp, meanwhile, operations: 120 };
    };
    const grounds = await crowds(t, open, seeds(8));
    metFaults(t, grounds);
    for (const { clients } of grounds)
      for (const { mount } of clients) t.notMatch(mount.log, /is lost/, 'no lock is lost');
  },
);
