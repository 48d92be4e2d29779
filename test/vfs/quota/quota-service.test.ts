/** The way to a quota service, what is said where there is none, and as whom it is asked. */
import t, { type Test } from 'tap';
import { QuotaOwner, QuotaStatus } from '../../../lib/programs/rquota/index.js';
import { RpcServer } from '../../../lib/rpc/index.js';
import { Credentials } from '../../../lib/vfs/caller/caller.js';
import { type IdentityRules, SAME_IDENTITY } from '../../../lib/vfs/caller/identity.js';
import { QuotaReporter } from '../../../lib/vfs/quota/quota-reporter.js';
import { QuotaService } from '../../../lib/vfs/quota/quota-service.js';
import { freePorts } from '../../support/ports.js';
import { QuotaServer } from '../../support/quota-server.js';
import { untilEnd } from '../../support/until-end.js';

const serviceAt = (quotaPort: number | undefined, host = '127.0.0.1') =>
  new QuotaService({ host, proto: 'tcp', resvport: false, quotaPort });
const credential = new Credentials({ machineName: 'test', now: () => 0 }).of(7, 8, []);
const ask = (service: QuotaService) =>
  service.ask(credential, (quotas) => quotas.quota(Buffer.from('/export'), QuotaOwner.USER, 7));

t.test('without a quota service the message says what is missing, and where', async (t) => {
  const other = untilEnd(t, new RpcServer());
  const { port } = await other.listen({ host: '127.0.0.1', port: 0 });
  const [closed] = await freePorts(1);
  const name = 'QuotaServiceError';
  await t.rejects(ask(serviceAt(port)), {
    name,
    message: `127.0.0.1 offers no quota service on port ${port}: another program answers there`,
  });
  await t.rejects(ask(serviceAt(closed)), {
    name,
    message: `The quota service of 127.0.0.1 does not answer on port ${closed}`,
  });
  // Nothing of a test listens at this address.
  await t.rejects(ask(serviceAt(undefined, '127.0.0.77')), {
    name,
    message:
      'The portmapper of 127.0.0.77 cannot be asked for the quota service, whose port rquotaport= can name',
  });
});

t.test('a service that went away and came back is asked again', async (t) => {
  const server = await QuotaServer.start();
  const service = serviceAt(server.port);
  t.same(await ask(service), { status: QuotaStatus.NOQUOTA });
  await server.close();
  await t.rejects(ask(service), { name: 'QuotaServiceError' });
  const again = untilEnd(t, await QuotaServer.start(true, server.port));
  t.same(await ask(service), { status: QuotaStatus.NOQUOTA });
  t.same(again.questions, ['user 7 of /export, asked by 7']);
});

async function reporter(t: Test, identity: IdentityRules) {
  const server = untilEnd(t, await QuotaServer.start());
  const report = new QuotaReporter({ identity, exportPath: Buffer.from('/x') }, serviceAt(server.port));
  return { server, report };
}

t.test(
  'the server is asked by the asker, in its own ids, and for no one whom it does not have',
  async (t) => {
    const ranges = [{ local: 0, server: 5000, count: 100 }];
    const { server, report } = await reporter(t, {
      uid: { everybody: undefined, ranges },
      gid: SAME_IDENTITY.gid,
    });
    // No thread has this number, so that its groups are unknown.
    const asker = { pid: 0, uid: 1, gid: 8 };
    t.same(await report.report(asker, undefined), {
      quotas: [
        { kind: 'user', id: 1, serverId: 5001, result: 'none' },
        { kind: 'group', id: 8, serverId: 8, result: 'none' },
      ],
    });
    t.same(server.questions.sort(), ['group 8 of /x, asked by 5001', 'user 5001 of /x, asked by 5001']);
    t.same(await report.report(asker, { kind: 'user', id: 2 }), {
      quotas: [{ kind: 'user', id: 2, serverId: 5002, result: 'none' }],
    });
    t.same(await report.report(asker, { kind: 'user', id: 100 }), { unmapped: { kind: 'user', id: 100 } });
    t.same(await report.report({ ...asker, uid: 100 }, undefined), { unmapped: { kind: 'user', id: 100 } });
    t.equal(server.questions.length, 3);
  },
);
