/** Grants of locks by a real server, nfs-ganesha, in a network of its own where port 111 is free. */
import t from 'tap';
import { Ganesha } from '../support/ganesha.js';
import { GuestNetwork } from '../support/guest/network.js';
import { Rpcbind } from '../support/rpcbind.js';
import { untilEnd } from '../support/until-end.js';
import { expectHeard, waits } from './support/waiter.js';

const network = await GuestNetwork.make();
t.teardown(() => network.close());
const server = untilEnd(t, await Ganesha.start({ network, locks: true, udp: true }));
const setting = {
  host: server.host,
  exportPath: server.exportPath,
  port: server.port,
  mountPort: server.mountPort,
  lockPort: server.lockPort,
  protocol: 'tcp',
} as const;

t.test('a server tells of a grant through port 111 and NLM, over the transport of the lock', async (t) => {
  // Over IPv6 and TCP this server looks for an IPv4 address, and calls nobody.
  for (const [protocol, host] of [
    ['tcp', server.host],
    ['udp', server.host],
    ['udp', '::1'],
  ] as const) {
    t.test(`${protocol} ${host}`, async (t) =>
      expectHeard(t, await waits(network.enter, { ...setting, host, protocol })),
    );
  }
});

t.test('without the right to port 111, or beside another port mapper, there is no listener', async (t) => {
  const helpless = [...network.enter, 'setpriv', '--bounding-set', '-net_bind_service'];
  t.match(await waits(helpless, setting), { problem: 'not permitted' });
  untilEnd(t, await Rpcbind.start(network));
  t.match(await waits(network.enter, setting), { problem: 'taken' });
});
