/** Something between client and server sends nonsense in place of answers: the user learns of it. */
import { once } from 'node:events';
import net from 'node:net';
import t from 'tap';
import { embeddedMount, statsOf } from '../support/embedded-mount.js';
import { Mount } from '../support/mount.js';
import { mustRun, run } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

t.test('a mount that gets nonsense logs it once, and its statistics show it', async (t) => {
  const { server, place, source } = await embeddedMount(t);
  let broken = false;
  const sockets = new Set<net.Socket>();
  const relay = net.createServer((client) => {
    const upstream = net.connect(server.port, '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        client.destroy();
        upstream.destroy();
      });
    }
    client.on('data', (bytes) => {
      if (broken) client.write(Buffer.alloc(100, 0x5a));
      else upstream.write(bytes);
    });
    upstream.pipe(client);
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    relay.close();
  });
  const port = (relay.address() as net.AddressInfo).port;
  const behind = { ...source, mountOptions: [`port=${port}`, `mountport=${port}`, 'nolock'] };
  const mount = untilEnd(
    t,
    await Mount.start({ source: behind, place, options: ['soft', 'timeo=10', 'retrans=2'] }),
  );
  const stats = () => mustRun(place.command([...place.product, 'stats', mount.path]), { cwd: '/' });
  t.notMatch(await stats(), /made no sense/);

  broken = true;
  for (const name of ['one', 'two']) {
    const outcome = await run(place.command(['ls', `${mount.path}/${name}`]), { cwd: '/' });
    t.equal(outcome.status, 2);
    t.match(outcome.stderr.toString(), /Input\/output error/);
  }
  const { rpc } = await statsOf(mount);
  t.ok(rpc.garbage > 1, `${rpc.garbage} times`);
  t.match(await stats(), /reconnections, \d+ answers that made no sense/);
  t.equal(mount.log.match(/sent nonsense/g)?.length, 1, mount.log);
});
