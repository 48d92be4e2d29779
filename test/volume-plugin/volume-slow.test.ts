/** Volumes on a server that answers, and whose mounts take longer than an engine has patience. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { openPlace } from '../support/places.js';
import { untilEnd } from '../support/until-end.js';
import { OF_DOCKER, Plugin } from './support/plugin.js';

interface SlowServer {
  /** In front of its NFS service, and not of its MOUNT service. */
  readonly proxy: FaultProxy;
  /** A plugin with the volume "slow" on it. */
  plugin(...args: string[]): Promise<Plugin>;
}

async function slowServer(t: Test): Promise<SlowServer> {
  const served = untilEnd(t, await ServeCommand.start(untilEnd(t, await openPlace('root'))));
  const proxy = untilEnd(t, await FaultProxy.start({ upstream: served.port }));
  mkdirSync(join(served.directory, 'of the server'));
  const o = `port=${proxy.port},mountport=${served.port},nlmport=${served.port}`;
  return {
    proxy,
    async plugin(...args) {
      const plugin = untilEnd(t, await Plugin.start(untilEnd(t, await openPlace('root')), args));
      t.teardown(() => proxy.release());
      await plugin.create('slow', { device: `${served.host}:/export`, o });
      return plugin;
    },
  };
}

t.test('docker waits for a mount whose server answers, and podman cannot', async (t) => {
  const { proxy, ...server } = await slowServer(t);
  const plugin = await server.plugin();
  proxy.hold();
  const docker = plugin.call('Mount', { Name: 'slow', ID: 'of docker' }, OF_DOCKER);
  const podman = await plugin.call('Mount', { Name: 'slow', ID: 'of podman' });
  t.equal(podman.status, 500);
  t.match(podman.body.Err, /Volume slow is not mounted yet: .* does not answer in time.*try again/);
  proxy.release();
  const { status, body } = await docker;
  t.equal(status, 200, String(body.Err));
  // The proxy is in this process, which must not wait for the mount itself.
  const listed = await plugin.run(['ls', String(body.Mountpoint)]);
  t.equal(listed.stdout.toString(), 'of the server\n');
  await plugin.unmount('slow', 'of docker');
});

t.test('--timeout is what podman is told to wait', async (t) => {
  const { proxy, ...server } = await slowServer(t);
  const [plugin, usual] = [await server.plugin('--timeout', '60'), await server.plugin()];
  proxy.hold();
  let isAnswered = false;
  const mounting = plugin.call('Mount', { Name: 'slow', ID: 'of podman' }).finally(() => {
    isAnswered = true;
  });
  t.match((await usual.call('Mount', { Name: 'slow', ID: 'one' })).body.Err, /not mounted yet/);
  t.notOk(isAnswered, 'it waits longer than usual');
  proxy.release();
  const { status, body } = await mounting;
  t.equal(status, 200, String(body.Err));
  await plugin.unmount('slow', 'of podman');
  await usual.mount('slow');
  await usual.unmount('slow');
});
