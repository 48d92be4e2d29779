/**
 * Crowds of programs on two mounts whose calls to the lock manager are lost, delayed, repeated and reordered, and whose
 * connections break: no lock is had twice, and none is left behind.
 */
import t from 'tap';
import { seeds } from '../model/seeds.js';
import { FaultDatagrams } from '../support/fault-datagrams.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { atTier } from '../support/tier.js';
import { clientsBehind, crowds, type Ground, lateDatagrams, metFaults, RATES } from './support/crowd.js';
import { served } from './support/served.js';

const LONG = { timeout: 3_000_000 };

t.test('locks over TCP are had by one at a time, and all end', LONG, async (t) => {
  const open = async (): Promise<Ground> => {
    const { server, mount, ...ground } = await served(t);
    const network = () => FaultProxy.start({ upstream: server.port });
    return { ...ground, clients: await clientsBehind(t, network, mount), rates: RATES.tcp };
  };
  metFaults(t, await crowds(t, open, seeds(atTier({ fast: 4, ci: 15, all: 100 }))));
});

t.test('locks over UDP are had by one at a time, and all end', LONG, async (t) => {
  const open = async (): Promise<Ground> => {
    const { server, mount, ...ground } = await served(t);
    await server.rpc?.listenForDatagrams({ host: '127.0.0.1', port: server.port });
    const network = () => FaultDatagrams.start({ upstream: server.port });
    const clients = await clientsBehind(t, network, (options) => mount([...options, 'proto=udp']));
    return { ...ground, clients, rates: RATES.udp, adapt: lateDatagrams };
  };
  metFaults(t, await crowds(t, open, seeds(atTier({ fast: 4, ci: 15, all: 100 }))));
});
