/** The messages about failures that a test machine cannot produce. */
import t from 'tap';
import { UserError } from '../../lib/base/user-error.js';
import { Errno, FuseError, MountError } from '../../lib/fuse/index.js';
import type { ExportSummary } from '../../lib/mount/failure/explainer.js';
import { fuseFailure } from '../../lib/mount/failure/fuse-failure.js';
import { isTemporary, mountFailure } from '../../lib/mount/failure/mount-failure.js';
import { parseMountRequest } from '../../lib/mount/options/mount-options.js';
import { MountRefused, MountStatus } from '../../lib/programs/mount3/index.js';
import { PortmapUnreachableError, ProgramNotRegisteredError } from '../../lib/programs/portmap/index.js';
import { RpcConnectError, RpcGarbageError, RpcTimeoutError } from '../../lib/rpc/index.js';

async function tell(error: unknown, options = '', exports?: ExportSummary[]): Promise<UserError> {
  const { client } = parseMountRequest('server:/export', [options]);
  const failure = await mountFailure(error, client, async () => exports);
  if (failure instanceof UserError) return failure;
  throw new Error(`not told: ${String(failure)}`);
}

const connectError = (code: string, port = 2049) => new RpcConnectError(code, code, 'server', port);
const lookupError = (code: string) =>
  new PortmapUnreachableError('unreachable', { cause: Object.assign(new Error(code), { code }) });

t.test('each failure has a message and a remedy', async (t) => {
  const cases: [error: unknown, options: string, message: string, remedy: RegExp][] = [
    [connectError('ENOTFOUND'), '', 'The server server is unknown: its name has no address.', /spelling/],
    [
      connectError('EAI_AGAIN'),
      '',
      'The name of the server server cannot be looked up just now.',
      /name server/,
    ],
    [lookupError('ENOTFOUND'), '', 'The server server is unknown: its name has no address.', /spelling/],
    [
      lookupError('EAI_AGAIN'),
      '',
      'The name of the server server cannot be looked up just now.',
      /name server/,
    ],
    [
      lookupError('ECONNREFUSED'),
      '',
      'There is no portmapper on server (port 111 refuses connections).',
      /mountport=/,
    ],
    [
      lookupError('ETIMEDOUT'),
      '',
      "server does not answer on port 111, the portmapper's (ETIMEDOUT).",
      /port= and mountport=/,
    ],
    [
      new PortmapUnreachableError('nonsense'),
      '',
      'The portmapper of server gives no usable answer.',
      /mountport=/,
    ],
    [connectError('ETIMEDOUT'), '', 'server does not answer on port 2049 (ETIMEDOUT).', /firewall/],
    [connectError('EHOSTUNREACH'), '', 'server does not answer on port 2049 (EHOSTUNREACH).', /firewall/],
    [
      connectError('EACCES', 9),
      'resvport',
      'Connecting to server port 9 is not permitted (EACCES).',
      /leave out resvport/,
    ],
    [connectError('EACCES', 9), '', 'Connecting to server port 9 is not permitted (EACCES).', /firewall/],
    [
      connectError('ECONNRESET', 9),
      'port=9',
      'The connection to server port 9 failed (ECONNRESET).',
      /NFSv3 server runs there \(port=, NFS\)/,
    ],
    [new RpcTimeoutError('slow', false), '', 'server does not answer.', /firewall/],
    [
      new RpcGarbageError('the reply is 7 bytes'),
      '',
      'server gives no NFS answers: the reply is 7 bytes.',
      /no NFS server, or something in between damages.*check the host, port= and mountport=/,
    ],
    [
      new RpcTimeoutError('slow', false, { cause: new RpcGarbageError('the reply is 7 bytes') }),
      '',
      'server gives no NFS answers: the reply is 7 bytes.',
      /no NFS server, or something in between damages/,
    ],
    [
      new ProgramNotRegisteredError('none', 100003, 3),
      'udp',
      'The portmapper of server knows no port of NFS (program 100003) version 3 over UDP.',
      /port=/,
    ],
    [
      new FuseError(Errno.EPERM, 'NFS3ERR_PERM'),
      '',
      'server lets this machine mount /export, but not look at it (NFS3ERR_PERM).',
      /insecure.*resvport/,
    ],
    [new FuseError(Errno.ENOTDIR), '', '/export on server is not a directory.', /Mount the directory/],
    [
      new FuseError(Errno.EIO, 'NFS3ERR_SERVERFAULT'),
      '',
      'The exported directory /export on server cannot be used (NFS3ERR_SERVERFAULT).',
      /exportfs/,
    ],
  ];
  for (const [error, options, message, remedy] of cases) {
    const told = await tell(error, options);
    t.equal(told.message, message);
    t.match(told.remedy, remedy, message);
    t.equal(told.cause, error, 'the cause is kept for those who debug');
  }
});

t.test('the message about a refusal names what the server exports', async (t) => {
  const refused = new MountRefused('server', Buffer.from('/export'), MountStatus.ACCES);
  const mine = [{ path: '/export', clients: ['10.0.0.0/8'] }];
  t.match((await tell(refused, '', mine)).remedy, /exports \/export to 10\.0\.0\.0\/8\..*reserved port/);
  t.equal(
    (await tell(refused, 'resvport', mine)).remedy,
    'It exports /export to 10.0.0.0/8: add this machine to them.',
  );
  t.match((await tell(refused, '', [{ path: '/export', clients: [] }])).remedy, /to everybody/);
  t.equal((await tell(refused, '', [{ path: '/other', clients: [] }])).remedy, 'The server exports: /other');
  t.equal((await tell(refused, '', [])).remedy, 'The server exports nothing.');
  t.match((await tell(refused)).remedy, /^Add this machine to the clients/);
  const fault = new MountRefused('server', Buffer.from('/export'), MountStatus.SERVERFAULT);
  t.match((await tell(fault)).message, /the server failed internally \(MNT3ERR_SERVERFAULT\)\.$/);
});

t.test("the FUSE side's own advice is kept", async (t) => {
  const cases: [MountError, string, string | undefined][] = [
    [
      new MountError('no-device', '/dev/fuse does not exist', 'pass --device /dev/fuse'),
      '/dev/fuse does not exist.',
      'Pass --device /dev/fuse.',
    ],
    [new MountError('failed', 'mounting failed: EIO'), 'Mounting failed: EIO.', undefined],
    [
      new MountError('mountpoint-not-directory', 'the mount point /x is not a directory'),
      'The mount point /x is not a directory.',
      'Mount on an existing directory.',
    ],
  ];
  for (const [error, message, remedy] of cases) {
    const told = await tell(error);
    t.equal(told.message, message);
    t.equal(told.remedy, remedy);
  }
  const busy = fuseFailure(new MountError('busy', '/mnt is in use', 'wait'), 'Add --lazy.');
  t.match(busy, { message: '/mnt is in use.', remedy: 'Add --lazy.' });
});

t.test('an error that is a bug stays what it is', async (t) => {
  const { client } = parseMountRequest('server:/export', []);
  const bug = new TypeError('x is not a function');
  t.equal(await mountFailure(bug, client, async () => undefined), bug);
});

t.test('only failures that waiting may cure are temporary', async (t) => {
  for (const code of ['ECONNREFUSED', 'ETIMEDOUT', 'EHOSTUNREACH', 'EAI_AGAIN', 'ECONNRESET']) {
    t.ok(isTemporary(connectError(code)), code);
    t.ok(isTemporary(lookupError(code)), `portmapper: ${code}`);
  }
  t.ok(isTemporary(new RpcTimeoutError('slow', false)));
  t.ok(isTemporary(new ProgramNotRegisteredError('not yet', 100003, 3)));
  t.notOk(isTemporary(connectError('ENOTFOUND')));
  t.notOk(isTemporary(lookupError('ENOTFOUND')));
  t.notOk(isTemporary(new MountRefused('server', Buffer.from('/x'), MountStatus.ACCES)));
  t.notOk(isTemporary(new Error('bug')));
});
