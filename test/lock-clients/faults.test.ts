/**
 * Crowds of programs on two mounts whose calls to the lock manager are lost, delayed, repeated and reordered, and whose
 * connections break: no lock is had twice, and none is left behind.
 */
import t, { type Test } from 'tap';
import { seeds } from '../model/seeds.js';
import { type DatagramCounters, FaultDatagrams } from '../support/fault-datagrams.js';
import { type FaultPlan, ROUGH } from '../support/fault-plan.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { watchedServer } from '../support/two-mounts.js';
import { untilEnd } from '../support/until-end.js';
import { type CrowdedClient, crowds, type Ground } from './support/crowd.js';

const isFast = process.env.NFS_FUSE_TEST_TIER === 'fast';
const LONG = { timeout: 3_000_000 };
/** More faults than files meet: a lock is few calls. */
const RATES = { ...ROUGH, drop: 15, delay: 80, duplicate: 60, reorder: 60, cut: 15 };
/** Datagrams have no connections that break. */
const OF_DATAGRAMS = { drop: 15, delay: 80, duplicate: 60, reorder: 60 };
/** Calls whose replies are lost are sent again soon, since a run is short. */
const TIMES = ['hard', 'timeo=5', 'retrans=1'];

/** Faults of these kinds were met: it is certain that something went wrong. */
function metFaults(t: Test, grounds: readonly Ground[], kinds: readonly (keyof DatagramCounters)[]): void {
  for (const { clients } of grounds)
    for (const { network } of clients)
      for (const kind of kinds) t.ok(network.counters[kind] > 0, `${kind}: ${network.counters[kind]}`);
}

t.test('locks over TCP are had by one at a time, and all end', LONG, async (t) => {
  const open = async (): Promise<Ground> => {
    const { server, directory, mount } = await watchedServer(t);
    const client = async (): Promise<CrowdedClient> => {
      const network = untilEnd(t, await FaultProxy.start({ upstream: server.port }));
      const mounted = await mount([...TIMES, `nlmport=${network.port}`]);
      return { network, mount: mounted.mount };
    };
    const clients = [await client(), await client()];
    const isEmpty = () => server.locks.held === 0 && server.locks.waiting === 0;
    return { directory, clients, rates: RATES, isEmpty };
  };
  const grounds = await crowds(t, open, seeds(isFast ? 4 : 100));
  metFaults(t, grounds, ['dropped', 'duplicated', 'delayed', 'reordered']);
});

/** Some datagrams are delayed for so long that their calls are repeated, answered and followed by others before they arrive. */
function late(plan: FaultPlan): FaultPlan {
  return {
    decide(record) {
      const fault = plan.decide(record);
      return fault?.kind === 'delay' && fault.ms > 20 ? { kind: 'delay', ms: fault.ms * 40 } : fault;
    },
  };
}

t.test('locks over UDP are had by one at a time, and all end', LONG, async (t) => {
  const open = async (): Promise<Ground> => {
    const { server, directory, mount } = await watchedServer(t);
    await server.rpc?.listenForDatagrams({ host: '127.0.0.1', port: server.port });
    const client = async (): Promise<CrowdedClient> => {
      const network = untilEnd(t, await FaultDatagrams.start({ upstream: server.port }));
      const mounted = await mount([...TIMES, 'proto=udp', `nlmport=${network.port}`]);
      return { network, mount: mounted.mount };
    };
    const clients = [await client(), await client()];
    const isEmpty = () => server.locks.held === 0 && server.locks.waiting === 0;
    return { directory, clients, rates: OF_DATAGRAMS, isEmpty, adapt: late };
  };
  const grounds = await crowds(t, open, seeds(isFast ? 4 : 100));
  metFaults(t, grounds, ['dropped', 'duplicated', 'delayed', 'reordered']);
});
