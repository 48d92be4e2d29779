/** Grants of locks by Linux's own server, which finds the listener through port 111 of the network that it is plugged into. */
import t from 'tap';
import { expectHeard, waits } from '../lock-listener/support/waiter.js';
import { Knfsd } from '../support/guest/knfsd.js';
import { untilEnd } from '../support/until-end.js';

const server = untilEnd(t, await Knfsd.start());
// New locks are given after the grace period, which would take 90 s.
await server.guest.mustRun('echo Y > /proc/fs/nfsd/v4_end_grace; echo Y > /proc/fs/lockd/nlm_end_grace');

t.test('Linux’s server tells of a grant, over the transport of the lock', async (t) => {
  for (const protocol of ['tcp', 'udp'] as const) {
    t.test(protocol, async (t) => {
      const { host, exportPath } = server;
      expectHeard(t, await waits(server.enter, { host, exportPath, protocol }));
    });
  }
});
