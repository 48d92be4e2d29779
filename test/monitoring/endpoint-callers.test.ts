/** Callers of a metrics endpoint that mean harm, or want much: the mount has its time, and the scraper its answer. */
import { chmodSync, chownSync, existsSync, mkdirSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { loggerTo } from '../../lib/base/log.js';
import { MetricsEndpoint } from '../../lib/mount/metrics/endpoint.js';
import type { EndpointAddress } from '../../lib/mount/metrics/endpoint-address.js';
import { publicFolder } from '../support/folders.js';
import { freePorts } from '../support/ports.js';
import { mustRun, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

const STRANGER = 65_533;

interface Opened {
  readonly endpoint: MetricsEndpoint;
  readonly port: number;
  readonly said: string[];
}

async function onPort(t: Test): Promise<Opened> {
  const [port = 0] = await freePorts(1);
  const said: string[] = [];
  const log = loggerTo((_level, message) => said.push(message));
  const endpoint = untilEnd(t, await MetricsEndpoint.open({ host: '127.0.0.1', port }, log));
  return { endpoint, port, said };
}

function scrape(
  where: { readonly port: number } | { readonly socketPath: string },
  host?: string,
): Promise<{ readonly status: number | undefined; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const headers = host === undefined ? {} : { Host: host };
    const asked = request(
      { host: '127.0.0.1', ...where, path: '/metrics', headers, agent: false },
      (answer) => {
        let body = '';
        answer.setEncoding('utf8').on('data', (text: string) => {
          body += text;
        });
        answer.on('end', () => resolve({ status: answer.statusCode, body }));
      },
    );
    asked.on('error', reject);
    asked.end();
  });
}

/** A connection that has sent `text`. */
async function sent(t: Test, port: number, text: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  await new Promise<void>((resolve) => socket.write(text, () => resolve()));
  return socket;
}

const QUESTION = 'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n';

t.test('many questions in one packet cost as much as one, and end the connection', async (t) => {
  const { endpoint, port } = await onPort(t);
  let made = 0;
  endpoint.serve(() => {
    made += 1;
    return `text ${made}\n`;
  });
  const socket = await sent(t, port, QUESTION.repeat(1_000));
  let heard = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    heard += text;
  });
  await until('the connection is over', () => socket.destroyed);
  t.equal(heard.match(/^text 1$/gm)?.length, 1, 'one question is answered');
  t.match(heard, /^Connection: close\r$/m);
  t.equal(made, 1);
});

t.test('questions that follow each other fast get the same text', async (t) => {
  const { endpoint, port } = await onPort(t);
  let made = 0;
  endpoint.serve(() => {
    made += 1;
    return 'text\n';
  });
  for (let turn = 0; turn < 5; turn += 1) t.match(await scrape({ port }), { status: 200, body: 'text\n' });
  t.ok(made < 5, `made ${made} times`);
  await until('a later one gets a new text', async () => {
    const before = made;
    await scrape({ port });
    return made > before && before > 0;
  });
});

t.test('callers that never read keep no scraper out', async (t) => {
  const { endpoint, port } = await onPort(t);
  endpoint.serve(() => 'x'.repeat(16 * 1024 * 1024));
  const stubborn = await Promise.all(
    Array.from({ length: 40 }, async () => {
      const socket = await sent(t, port, QUESTION);
      return socket.pause();
    }),
  );
  t.equal((await scrape({ port })).status, 200);
  for (const socket of stubborn) socket.destroy();
});

t.test('metrics that cannot be made are an answer, and a later attempt succeeds', async (t) => {
  const { endpoint, port, said } = await onPort(t);
  let isWell = false;
  endpoint.serve(() => {
    if (isWell) return 'text\n';
    throw Object.assign(new Error('too many open files'), { code: 'EMFILE' });
  });
  t.equal((await scrape({ port })).status, 500);
  t.equal((await scrape({ port })).status, 500);
  t.same(said, ['The metrics cannot be made (EMFILE).'], 'it is said once');
  isWell = true;
  t.match(await scrape({ port }), { status: 200, body: 'text\n' });
});

t.test('a page in a browser that leads its own name to this machine gets nothing', async (t) => {
  const { endpoint, port } = await onPort(t);
  endpoint.serve(() => 'text\n');
  for (const host of ['evil.example', `evil.example:${port}`, 'localhost.evil.example'])
    t.match(await scrape({ port }, host), { status: 421 }, host);
  for (const host of ['localhost', `LOCALHOST:${port}`, `127.0.0.1:${port}`, '[::1]:80', '[::1]'])
    t.match(await scrape({ port }, host), { status: 200 }, host);
  const socketPath = join(untilEnd(t, publicFolder()).path, 'metrics.sock');
  const local = untilEnd(t, await MetricsEndpoint.open({ socket: socketPath }, loggerTo()));
  local.serve(() => 'text\n');
  t.match(await scrape({ socketPath }, 'any.name'), { status: 200 }, 'no browser reaches a socket');
});

t.test(
  'a socket in a folder of another user is refused, and in a shared one there is a warning',
  async (t) => {
    const scratch = untilEnd(t, publicFolder()).path;
    const said: string[] = [];
    const log = loggerTo((_level, message) => said.push(message));
    const theirs = join(scratch, 'theirs');
    mkdirSync(theirs);
    chownSync(theirs, STRANGER, STRANGER);
    await t.rejects(MetricsEndpoint.open({ socket: join(theirs, 'x') }, log), /its folder is another user's/);
    t.notOk(existsSync(join(theirs, 'x')));
    const shared = join(scratch, 'shared');
    mkdirSync(shared);
    chmodSync(shared, 0o777);
    untilEnd(t, await MetricsEndpoint.open({ socket: join(shared, 'x') }, log));
    t.match(said, [/^Others may change the folder .*shared, and could answer/]);
    t.equal(statSync(join(shared, 'x')).mode & 0o777, 0o600);
  },
);

/** A socket that a process has left at a place where it cannot be removed. */
const LEAVE = 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])';

t.test('a left socket that cannot be removed is tried again until it can', async (t) => {
  const scratch = untilEnd(t, publicFolder()).path;
  const socket = join(scratch, 'metrics.sock');
  await mustRun(['mount', '-t', 'tmpfs', '-o', 'mode=755', 'none', scratch]);
  t.teardown(() => mustRun(['umount', '-l', scratch]));
  await mustRun(['python3', '-c', LEAVE, socket]);
  await mustRun(['mount', '-o', 'remount,ro', scratch]);
  const address: EndpointAddress = { socket };
  await t.rejects(MetricsEndpoint.open(address, loggerTo()), /cannot be served on .*: EROFS/);
  const endpoint = untilEnd(t, MetricsEndpoint.openAgain(address, loggerTo()));
  endpoint.serve(() => 'text\n');
  await t.rejects(scrape({ socketPath: socket }), { code: 'ECONNREFUSED' });
  await mustRun(['mount', '-o', 'remount,rw', scratch]);
  await until('it answers there', async () => {
    const answer = await scrape({ socketPath: socket }).catch(() => undefined);
    return answer?.status === 200;
  });
});
