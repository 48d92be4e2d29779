/** Commands that only ask a server repeat lost datagrams, like a mount over UDP. */
import t, { type Test } from 'tap';
import { callTimes } from '../../lib/mount/server/call-times.js';
import { RetransmissionPolicy } from '../../lib/rpc/client/retransmission.js';
import { EmbeddedServer } from '../../lib/server/index.js';
import { publicFolder } from '../support/folders.js';
import { LossyDatagrams } from '../support/lossy-datagrams.js';
import { untilEnd } from '../support/until-end.js';
import { checkWith } from './support/check.js';
import { nfsFuse, product } from './support/product.js';

async function lossyServer(t: Test): Promise<{ readonly relay: LossyDatagrams; readonly options: string }> {
  const served = untilEnd(t, publicFolder());
  const server = untilEnd(t, await EmbeddedServer.start({ path: served.path }));
  const relay = untilEnd(t, await LossyDatagrams.start(server.port));
  return { relay, options: `proto=udp,port=${relay.port},mountport=${relay.port},nolock` };
}

const STEPS = ['MOUNT service', 'NFS service', 'export list', 'MNT'];

t.test('check -o proto=udp succeeds if the first datagram of each call is lost', async (t) => {
  const { relay, options } = await lossyServer(t);
  const checked = await checkWith([...product, 'check', '-o', options, '127.0.0.1:/export']);
  for (const step of STEPS) t.equal(checked.of(step).result, 'ok', `${step}: ${checked.of(step).message}`);
  t.ok(relay.lost >= STEPS.length, `${relay.lost} calls were lost at first`);
});

t.test('a datagram is repeated within the time that --timeout allows', (t) => {
  for (const timeoutMs of [500, 1000, 2000, 5000, 30_000, 600_000]) {
    const { timeo, retrans } = callTimes('udp', timeoutMs);
    const policy = new RetransmissionPolicy('udp', 'soft', timeo, retrans);
    t.ok(retrans >= 2, `${timeoutMs} ms: ${retrans} times`);
    t.ok(policy.majorTimeout <= timeoutMs * 1.2, `${timeoutMs} ms: ${policy.majorTimeout}`);
  }
  t.same(callTimes('tcp', 5000), { timeo: 50, retrans: 0 });
  t.end();
});

t.test('exports -o proto=udp lists the exports if the first datagram of each call is lost', async (t) => {
  const { options } = await lossyServer(t);
  const outcome = await nfsFuse(['exports', '-o', options, '127.0.0.1']);
  t.equal(outcome.stderr, '');
  t.match(outcome.stdout, /^\/export /m);
});
