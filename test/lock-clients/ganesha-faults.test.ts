/** Crowds of programs that lock files of nfs-ganesha from two mounts, behind a bad network. */
import t, { type Test } from 'tap';
import { seeds } from '../model/seeds.js';
import { FaultDatagrams } from '../support/fault-datagrams.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { Ganesha } from '../support/ganesha.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { atTier } from '../support/tier.js';
import { untilEnd } from '../support/until-end.js';
import {
  clientsBehind,
  crowds,
  type Ground,
  isUnlocked,
  lateDatagrams,
  metFaults,
  RATES,
} from './support/crowd.js';

const LONG = { timeout: 3_000_000 };

async function served(t: Test, udp: boolean) {
  const place = untilEnd(t, await openPlace('root'));
  const source = untilEnd(t, await Ganesha.start({ locks: true, udp }));
  const { directory, lockPort } = source;
  const mount = async (options: readonly string[]) =>
    untilEnd(t, await Mount.start({ source, place, options }));
  return { directory, lockPort, mount, isEmpty: () => isUnlocked(directory) };
}

t.test('locks over TCP are had by one at a time, and all end', LONG, async (t) => {
  const open = async (): Promise<Ground> => {
    const { lockPort, mount, ...ground } = await served(t, false);
    const network = () => FaultProxy.start({ upstream: lockPort });
    return { ...ground, clients: await clientsBehind(t, network, mount), rates: RATES.tcp };
  };
  metFaults(t, await crowds(t, open, seeds(atTier({ fast: 2, ci: 5, all: 20 }))));
});

t.test('locks over UDP are had by one at a time, and all end', LONG, async (t) => {
  const open = async (): Promise<Ground> => {
    const { lockPort, mount, ...ground } = await served(t, true);
    const network = () => FaultDatagrams.start({ upstream: lockPort });
    const clients = await clientsBehind(t, network, (options) => mount([...options, 'proto=udp']));
    return { ...ground, clients, rates: RATES.udp, adapt: lateDatagrams };
  };
  metFaults(t, await crowds(t, open, seeds(atTier({ fast: 2, ci: 4, all: 12 }))));
});
