/** `nfs-fuse mount --metrics`: a scraper reads the metrics of a mount, also of the process that goes on with it. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { endpointText, parseEndpointAddress } from '../../lib/mount/metrics/endpoint-address.js';
import { failsOnce, nfsFuse } from '../cli/support/product.js';
import { servingProcess } from '../keep/support/serving.js';
import { ServeCommand } from '../support/embedded.js';
import { publicFolder } from '../support/folders.js';
import { Mount, mountsOf, newMountPoint } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { freePorts } from '../support/ports.js';
import { mustRun, run, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

interface Answer {
  readonly status: number | undefined;
  readonly type: string | undefined;
  readonly body: string;
}

type Where = { readonly port: number; readonly host?: string } | { readonly socketPath: string };

function ask(where: Where, path = '/metrics', method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', ...where, path, method, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode, type: response.headers['content-type'], body }),
      );
    });
    asked.on('error', reject);
    asked.end();
  });
}

/** The metrics, as soon as somebody answers there. */
async function metrics(where: Where): Promise<string> {
  let answer: Answer | undefined;
  await until('metrics are answered', async () => {
    answer = await ask(where).catch(() => undefined);
    return answer?.status === 200;
  });
  return answer?.body ?? '';
}

const place = untilEnd(t, await openPlace('root'));
const server = untilEnd(t, await ServeCommand.start(place));
const scratch = untilEnd(t, publicFolder());

t.test('addresses', async (t) => {
  t.same(parseEndpointAddress('9100'), { host: '127.0.0.1', port: 9100 });
  t.same(parseEndpointAddress(':9100'), { host: '127.0.0.1', port: 9100 });
  t.same(parseEndpointAddress('localhost:1'), { host: '127.0.0.1', port: 1 });
  t.same(parseEndpointAddress('0.0.0.0:65535'), { host: '0.0.0.0', port: 65_535 });
  t.same(parseEndpointAddress('[::1]:9100'), { host: '::1', port: 9100 });
  t.same(parseEndpointAddress('/run/x.sock'), { socket: '/run/x.sock' });
  t.same(parseEndpointAddress('./x'), { socket: join(process.cwd(), 'x') });
  for (const text of ['9100', '10.1.2.3:80', '[fe80::1]:80', '/a/b'])
    t.same(parseEndpointAddress(endpointText(parseEndpointAddress(text))), parseEndpointAddress(text));
  for (const text of [
    '',
    '0',
    '65536',
    'host',
    'host:80',
    '::1:80',
    '[1.2.3.4]:80',
    '1.2.3:80',
    'a:b',
    '80x',
  ])
    t.throws(() => parseEndpointAddress(text), /is no address and port/, text);
  t.throws(() => parseEndpointAddress(`/${'x'.repeat(107)}`), /at most 107 bytes/);
});

t.test('a port: metrics of this mount, before and after its process was killed', async (t) => {
  const [port = 0] = await freePorts(1);
  const mount = untilEnd(t, await Mount.start({ source: server, place, args: ['--metrics', String(port)] }));
  await mount.served();
  await mount.mustRun(['ls']);
  const text = await metrics({ port });
  const where = `server="127.0.0.1",export="${server.exportPath}",mountpoint="${mount.path}"`;
  t.ok(text.includes(`\nnfs_fuse_up{${where}} 1\n`) || text.includes(`nfs_fuse_up{${where}} 1\n`));
  t.match(text, /^nfs_fuse_rpc_rtt_seconds_bucket\{.*,procedure="READDIRPLUS",le="\+Inf"\} [1-9]/m);
  const { stdout } = await nfsFuse(['stats', '--prometheus', mount.path]);
  const names = (page: string) => page.split('\n').filter((line) => line.startsWith('# TYPE'));
  t.same(names(text), names(stdout), 'the same families as those of stats');
  t.match(await ask({ port }), { status: 200, type: 'text/plain; version=0.0.4; charset=utf-8' });
  t.match(await ask({ port }, '/metrics?x=1'), { status: 200 });
  t.match(await ask({ port }, '/'), { status: 404, body: /\/metrics/ });
  t.match(await ask({ port }, '/metrics', 'POST'), { status: 405 });

  const dead = await servingProcess(mount);
  process.kill(dead, 'SIGKILL');
  await until('another process serves', async () => ![dead, 0].includes(await servingProcess(mount)));
  t.match(await metrics({ port }), /^nfs_fuse_takeovers_total\{.*after="death"\} 1$/m);
  await mustRun(place.command([...place.product, 'restart', mount.path]), { cwd: '/' });
  await until('the process of the restart answers', async () => {
    return (await metrics({ port })).includes('after="restart"} 1');
  });
  await mount.unmount();
  await t.rejects(ask({ port }), { code: 'ECONNREFUSED' }, 'nobody answers after the end');
});

t.test('nothing is mounted where the address cannot be had', async (t) => {
  const [port = 0] = await freePorts(1);
  const first = untilEnd(t, await Mount.start({ source: server, place, args: ['--metrics', String(port)] }));
  await first.served();
  const path = await newMountPoint(place);
  const target = `${server.host}:${server.exportPath}`;
  const attempt = (address: string, ...more: string[]) =>
    nfsFuse(['mount', ...more, '--metrics', address, '-o', server.mountOptions.join(','), target, path]);
  failsOnce(
    t,
    await attempt(String(port)),
    /^nfs-fuse: The metrics cannot be served on 127\.0\.0\.1:\d+: another program has that address\.$/,
    /--metrics/,
  );
  failsOnce(t, await attempt('host:80', '-f'), /--metrics=host:80 is no address/, /Write PORT/);
  const file = join(scratch.path, 'a-file');
  writeFileSync(file, 'precious');
  failsOnce(t, await attempt(file, '-f'), /cannot be served on .*: another program has/, /--metrics/);
  t.equal(readFileSync(file, 'utf8'), 'precious', 'a file of that name stays');
  failsOnce(t, await attempt('/nonexistent/x', '-f'), /its folder does not exist/, /folder that exists/);
  t.notOk(mountsOf(place.namespacePid).some((entry) => entry.path === path));
});

t.test('a socket is for its user and root alone, and one that was left is made anew', async (t) => {
  const socketPath = join(scratch.path, 'metrics.sock');
  const mount = untilEnd(t, await Mount.start({ source: server, place, args: ['--metrics', socketPath] }));
  await mount.served();
  t.match(await metrics({ socketPath }), /^nfs_fuse_up\{.*\} 1$/m);
  t.equal(statSync(socketPath).mode & 0o777, 0o600);
  const script = `require('net').connect(${JSON.stringify(socketPath)}).on('error', (e) => { console.log(e.code); process.exit(0); }).on('connect', () => process.exit(1));`;
  const stranger = await run(
    [
      'env',
      '-u',
      'NODE_OPTIONS',
      'setpriv',
      '--reuid=65534',
      '--regid=65534',
      '--clear-groups',
      process.execPath,
      '-e',
      script,
    ],
    { cwd: '/' },
  );
  t.match(stranger.stdout.toString(), 'EACCES');
  const dead = await servingProcess(mount);
  process.kill(dead, 'SIGKILL');
  await until('another process serves', async () => ![dead, 0].includes(await servingProcess(mount)));
  t.match(await metrics({ socketPath }), /after="death"\} 1$/m);
  await mount.unmount();
  t.notOk(existsSync(socketPath), 'the socket is removed at the end');
});

t.test('connections that say nothing keep no scraper out for long, and end', async (t) => {
  const [port = 0] = await freePorts(1);
  const mount = untilEnd(t, await Mount.start({ source: server, place, args: ['--metrics', String(port)] }));
  await mount.served();
  await metrics({ port });
  const silent = Array.from({ length: 40 }, () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.resume();
    t.teardown(() => socket.destroy());
    return socket;
  });
  await until('all are connected or refused', () => silent.every(({ connecting }) => !connecting));
  t.match(await metrics({ port }), /^nfs_fuse_up/m);
  await until('all of them were ended', () => silent.every(({ readyState }) => readyState !== 'open'));
});
