/** Locks of mounts that reach their server over IPv6, in a network of its own: by the port that it has, or by rpcbind. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { Ganesha } from '../support/ganesha.js';
import { GuestNetwork } from '../support/guest/network.js';
import { LockWorkers } from '../support/locks/workers.js';
import { Mount, type MountSource } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { Rpcbind } from '../support/rpcbind.js';
import { untilEnd } from '../support/until-end.js';

const GOT = { ok: null };
const REFUSED = { errno: 'EAGAIN' };

const network = await GuestNetwork.make();
t.teardown(() => network.close());

/** A mount with a worker that has the file open. */
async function client(t: Test, source: MountSource, options: readonly string[]) {
  const place = untilEnd(t, await openPlace('root'));
  const mount = untilEnd(
    t,
    await Mount.start({ source, place, options: ['lock', ...options], args: ['--no-keep'] }),
  );
  await mount.served();
  const workers = untilEnd(t, LockWorkers.start(mount.path));
  await workers.spawn('w');
  await workers.call('w', 'open', 'f', 'file', 'rw');
  const fcntl = (command: string, kind: string, ...range: readonly string[]) =>
    workers.begin('w', 'fcntl', command, 'f', kind, 0, ...range);
  return { mount, fcntl };
}

/** Two mounts of [::1] exclude each other, one waits for the other, and what a killed one held is released. */
async function exclude(
  t: Test,
  server: { readonly directory: string; readonly exportPath: string },
  mountOptions: readonly string[],
  options: readonly string[] = [],
): Promise<void> {
  writeFileSync(join(server.directory, 'file'), 'content');
  chmodSync(join(server.directory, 'file'), 0o666);
  const source = { host: '::1', exportPath: server.exportPath, mountOptions, enter: network.enter };
  const a = await client(t, source, options);
  const b = await client(t, source, options);
  t.match(a.mount.entry, { source: `[::1]:${server.exportPath}` });
  t.same(await a.fcntl('set', 'x', '0', '10').answer, GOT);
  t.same(await b.fcntl('set', 's', '9', '1').answer, REFUSED);
  const waiting = b.fcntl('wait', 'x', '9', '10');
  t.same(await a.fcntl('set', 'u', '0', '0').answer, GOT);
  t.same(await waiting.answer, GOT);
  t.same(await a.fcntl('set', 's', '18', '1').answer, REFUSED);
  const next = a.fcntl('wait', 'x', '18', '1');
  await b.mount.kill();
  t.same(await next.answer, GOT, 'the watcher has released the lock of the mount that was killed');
  t.same(await a.fcntl('set', 'u', '0', '0').answer, GOT);
}

t.test('nfs-ganesha, by its port, over TCP and UDP', { timeout: 120_000 }, async (t) => {
  const server = untilEnd(t, await Ganesha.start({ network, locks: true, udp: true }));
  await exclude(t, server, server.mountOptions);
  await exclude(t, server, server.mountOptions, ['proto=udp6']);
});

t.test('nfs-ganesha, by what rpcbind says of IPv6', { timeout: 120_000 }, async (t) => {
  untilEnd(t, await Rpcbind.start(network));
  const server = untilEnd(t, await Ganesha.start({ network, locks: true, udp: true, registers: true }));
  await exclude(t, server, []);
  await exclude(t, server, ['proto=udp6']);
});

t.test('nfs-fuse serve, by its port, and by what rpcbind says of IPv6', { timeout: 120_000 }, async (t) => {
  untilEnd(t, await Rpcbind.start(network));
  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await ServeCommand.start(place, ['--host', '::'], network.enter));
  await exclude(t, server, server.mountOptions);
  await exclude(t, server, []);
  // The name of a transport: nothing but IPv6 will do.
  await exclude(t, server, [], ['proto=tcp6']);
});

t.test('nlmcallback is refused over IPv6 and TCP', { timeout: 60_000 }, async (t) => {
  const server = untilEnd(t, await Ganesha.start({ network, locks: true }));
  const place = untilEnd(t, await openPlace('root'));
  const { exportPath, mountOptions, enter } = server;
  const source = { host: '::1', exportPath, mountOptions, enter };
  const mounting = Mount.start({ source, place, options: ['nlmcallback'] });
  await t.rejects(mounting, { message: /nlmcallback cannot be had over IPv6 with TCP/ });
});
