/** `nfs-fuse serve`: the callers that it trusts and names at the start, and the handles that outlive it. */
import { chmodSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { MNT } from '../../lib/programs/mount3/procedures.js';
import { MountStatus } from '../../lib/programs/mount3/types.js';
import * as nfs from '../../lib/programs/nfs3/index.js';
import type { Credential } from '../../lib/rpc/auth/credential.js';
import { RpcClient } from '../../lib/rpc/client/client.js';
import { ok, ROOT, statusOf, user } from '../server/support/rig.js';
import { openPlace, type Place, type PlaceName } from '../support/places.js';
import { type Background, mustRun, type Outcome, run, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

interface Serving {
  readonly place: Place;
  /** The served folder. Everybody may write to it. */
  readonly folder: string;
  readonly port: number;
  readonly process: Background;
  /** The last line of the greeting. */
  readonly trusted: string;
}

const argvOf = (place: Place, folder: string, options: readonly string[]) =>
  place.command([
    ...['env', `XDG_STATE_HOME=${place.folder}/state`],
    ...place.product,
    ...['serve', folder, '--port', '0', ...options],
  ]);

async function ground(t: Test, name: PlaceName = 'root'): Promise<{ place: Place; folder: string }> {
  const place = untilEnd(t, await openPlace(name));
  const folder = join(place.folder, 'served');
  await mustRun(place.command(['mkdir', '-m', '777', folder]));
  return { place, folder };
}

async function serving(
  t: Test,
  { place, folder }: { place: Place; folder: string },
  options: readonly string[] = [],
): Promise<Serving> {
  const server = untilEnd(t, start(argvOf(place, folder, options), { cwd: '/' }));
  await until('it serves', () => {
    if (server.outcome) throw new Error(server.output);
    return /^Trusted: .*\n/m.test(server.output);
  });
  const port = Number(/on port (\d+)/.exec(server.output)?.[1]);
  return { place, folder, port, process: server, trusted: /^Trusted: .*$/m.exec(server.output)?.[0] ?? '' };
}

let made = 0;

/** The status of MNT, and of creating a file after it. */
async function tries(
  t: Test,
  port: number,
  credential: Credential,
  resvport = false,
): Promise<{ mnt: MountStatus; owner?: number | undefined; status?: string }> {
  const client = untilEnd(t, await RpcClient.connect({ host: '127.0.0.1', port, resvport }));
  const mounted = await client.call(MNT, Buffer.from('/export'), { credential });
  if (mounted.status !== MountStatus.OK) return { mnt: mounted.status };
  const where = { directory: mounted.grant.handle, name: nfs.fileNameFromText(`made-${++made}`) };
  const how = { mode: nfs.CreateMode.UNCHECKED, attributes: {} } as const;
  const result = await client.call(nfs.CREATE, { where, how }, { credential });
  if (result.status !== nfs.Status.OK) return { mnt: mounted.status, status: nfs.statusName(result.status) };
  return { mnt: mounted.status, owner: result.attributes?.uid };
}

t.test('as root, serve trusts ports below 1024, and treats the callers’ root as nobody', async (t) => {
  const server = await serving(t, await ground(t));
  t.equal(
    server.trusted,
    'Trusted: every program of this machine that can connect from a port below 1024 acts as the user that it claims to be, root and group 0 as nobody (65534).',
  );
  t.match(server.process.output, /nfs-fuse mount -o port=\d+,mountport=\d+,nlmport=\d+,resvport /);
  t.same(await tries(t, server.port, user(1001)), { mnt: MountStatus.ACCES });
  t.same(await tries(t, server.port, ROOT), { mnt: MountStatus.ACCES });
  t.same(readdirSync(server.folder), []);
  t.match(await tries(t, server.port, user(1001), true), { owner: 1001 });
  t.match(await tries(t, server.port, ROOT, true), { owner: 65_534 });
});

t.test('a mount by another user of the machine fails with the reason', async (t) => {
  const server = await serving(t, await ground(t));
  const place = untilEnd(t, await openPlace('user'));
  const mountpoint = join(place.folder, 'mnt');
  await mustRun(place.command(['mkdir', mountpoint]));
  const options = `port=${server.port},mountport=${server.port},nlmport=${server.port}`;
  const argv = [...place.product, 'mount', '-o', options, '127.0.0.1:/export', mountpoint];
  const { status, stderr } = await run(place.command(argv), { cwd: '/' });
  t.equal(status, 1);
  t.match(stderr, /does not let this machine mount .*\n.*reserved port \(below 1024\)/);
});

t.test('options set the trust of the server: --insecure, --no-root-squash, --all-squash', async (t) => {
  const folder = await ground(t);
  const insecure = await serving(t, folder, ['--insecure']);
  t.match(insecure.trusted, /that can connect acts as the user that it claims to be, root and group 0 as/);
  t.match(await tries(t, insecure.port, user(1001)), { owner: 1001 });
  t.match(await tries(t, insecure.port, ROOT), { owner: 65_534 });
  await insecure.process.stop();
  const open = await serving(t, folder, ['--insecure', '--no-root-squash', '--host', '0.0.0.0']);
  t.equal(
    open.trusted,
    'Trusted: every program of every machine that reaches it that can connect acts as the user that it claims to be, root included.',
  );
  t.match(await tries(t, open.port, ROOT), { owner: 0 });
  await open.process.stop();
  const none = await serving(t, folder, ['--insecure', '--all-squash']);
  t.match(none.trusted, /acts as nobody \(uid 65534\), whatever user it claims to be/);
  t.match(await tries(t, none.port, user(1001)), { owner: 65_534 });
});

t.test('without privilege, serve carries out all calls as its own user, and says so', async (t) => {
  const server = await serving(t, await ground(t, 'user'));
  const { uid } = server.place.owner;
  t.equal(
    server.trusted,
    `Trusted: every program of this machine that can connect acts as this server's own user (uid ${uid}), whatever user it claims to be.`,
  );
  t.match(await tries(t, server.port, user(1001)), { owner: uid });
  const secure = await serving(t, server, ['--secure']);
  t.same(await tries(t, secure.port, user(1001)), { mnt: MountStatus.ACCES });
  t.match(await tries(t, secure.port, user(1001), true), { owner: uid });
});

t.test('options that the server cannot keep are refused with one message', async (t) => {
  const one = /^nfs-fuse: [^\n]*\n {10}[^\n]*\n$/;
  const refused = async (argv: readonly string[]): Promise<Outcome> => {
    const outcome = await run(argv, { cwd: '/' });
    t.equal(outcome.status, 1);
    t.match(outcome.stderr, one);
    return outcome;
  };
  const own = await ground(t, 'user');
  for (const option of ['--root-squash', '--all-squash']) {
    const { stderr } = await refused(argvOf(own.place, own.folder, [option]));
    t.match(
      stderr,
      new RegExp(`${option} cannot be kept: this process \\(uid \\d+\\) may not act as other users`),
    );
  }
  const { place, folder } = await ground(t);
  const contradictions = [
    ['--secure', '--insecure'],
    ['--root-squash', '--no-root-squash'],
    ['--all-squash', '--no-root-squash'],
  ];
  for (const options of contradictions) {
    t.match((await refused(argvOf(place, folder, options))).stderr, /mutually exclusive/);
  }
  const helpless = ['setpriv', '--bounding-set', '-setuid'];
  const { stderr } = await refused([...helpless, ...argvOf(place, folder, [])]);
  t.match(stderr, /runs as root and may not act as other users here: everybody who connects would be root/);
});

t.test('handles outlive the server, by a key that only its user can read', async (t) => {
  const where = await ground(t);
  writeFileSync(join(where.folder, 'f'), 'text');
  const key = join(where.place.folder, 'state/nfs-fuse/serve.key');
  const probe = async (port: number, object?: nfs.FileHandle): Promise<nfs.FileHandle> => {
    const client = untilEnd(t, await RpcClient.connect({ host: '127.0.0.1', port }));
    if (object !== undefined) {
      t.equal(await statusOf(client.call(nfs.GETATTR, { object }, { credential: ROOT })), 'NFS3_OK');
    }
    const mounted = await client.call(MNT, Buffer.from('/export'), { credential: ROOT });
    if (mounted.status !== MountStatus.OK) throw new Error(`MNT is refused: ${mounted.status}`);
    const name = { directory: mounted.grant.handle, name: nfs.fileNameFromText('f') };
    return ok(await client.call(nfs.LOOKUP, name, { credential: ROOT })).object;
  };
  const first = await serving(t, where, ['--insecure']);
  t.equal(statSync(key).mode & 0o7777, 0o600);
  t.equal(statSync(join(key, '..')).mode & 0o7777, 0o700);
  const handle = await probe(first.port);
  first.process.signal('SIGKILL');
  await first.process.ended;
  const second = await serving(t, where, ['--insecure']);
  t.equal(await probe(second.port, handle), handle);
  t.notMatch(second.process.output, /cannot be kept/);
  await second.process.stop();
  chmodSync(key, 0o640);
  const third = await serving(t, where, ['--insecure']);
  t.match(
    third.process.output,
    /The key of the file handles cannot be kept \(.*serve\.key is not this user's alone\)/,
  );
  t.not(await probe(third.port), handle);
});
