/** uid=, gid= and the idmap options: their effect, the refused values, and the arguments of the command line. */
import t from 'tap';
import { UserError } from '../../lib/base/user-error.js';
import { identityOptionTexts } from '../../lib/cli/identity-arguments.js';
import { parseMountRequest } from '../../lib/mount/options/mount-options.js';
import { SAME_IDENTITY } from '../../lib/vfs/caller/identity.js';
import { nfsFuse } from './support/product.js';

function identity(...options: string[]) {
  return parseMountRequest('server:/export', options).client.identity;
}

function refusal(...options: string[]): UserError {
  try {
    identity(...options);
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
  throw new Error(`accepted: ${options.join(' ')}`);
}

const range = (local: number, server: number, count: number) => ({ local, server, count });

t.test('uid= and gid= set the one user of all calls; the last option counts', async (t) => {
  t.strictSame(identity(), SAME_IDENTITY);
  t.match(identity('uid=1000'), { uid: { everybody: 1000 }, gid: { everybody: undefined } });
  t.match(identity('uid=1,gid=0,uid=4294967294'), {
    uid: { everybody: 4_294_967_294 },
    gid: { everybody: 0 },
  });
});

t.test('all ranges count, whether in one option, in several, or in arguments', async (t) => {
  const three = [range(0, 1000, 1), range(1, 100_000, 65_535), range(70_000, 0, 1)];
  t.strictSame(identity('idmap-uid=0:1000:1/1:100000:65535/70000:0:1').uid.ranges, three);
  t.strictSame(
    identity('idmap-uid=0:1000:1,idmap-uid=1:100000:65535', 'idmap-uid=70000:0:1').uid.ranges,
    three,
  );
  const texts = identityOptionTexts({
    'idmap-uid': ['0:1000:1', '1:100000:65535/70000:0:1'],
    'idmap-gid': ['5:6:7'],
    groups: undefined,
  });
  t.strictSame(identity(...texts).uid.ranges, three);
  t.strictSame(identity(...texts).gid.ranges, [range(5, 6, 7)]);
  t.strictSame(identity('idmap-gid=0:0:4294967295').gid.ranges, [range(0, 0, 4_294_967_295)]);
});

t.test(
  'all groups for unseen callers count, whether in one option, in several, or in arguments',
  async (t) => {
    t.equal(identity().unseenGroups, undefined);
    t.strictSame(identity('groups=1000:2000,groups=5', 'groups=5:6').unseenGroups, [1000, 2000, 5, 6]);
    const texts = identityOptionTexts({
      'idmap-uid': undefined,
      'idmap-gid': undefined,
      groups: ['7:8', '9'],
    });
    t.strictSame(identity(...texts).unseenGroups, [7, 8, 9]);
  },
);

t.test('idmapped has the kernel check rights, and takes one user for all calls', async (t) => {
  const { client, fuse } = parseMountRequest('server:/export', ['gid=8,idmapped', 'uid=7']);
  t.match(client, { identity: { idmapped: true, uid: { everybody: 7 } }, kernelChecks: true });
  t.match(fuse, { defaultPermissions: true, allowOther: false });
  for (const options of ['idmapped', 'idmapped,uid=7', 'idmapped,gid=7', 'idmapped,idmap-uid=0:7:1'])
    t.match(
      refusal(options),
      { message: /idmapped takes uid= and gid=/, remedy: /leave idmapped out/ },
      options,
    );
});

t.test('impossible values are refused with a message and a remedy', async (t) => {
  const cases: [string, RegExp][] = [
    ['uid=root', /^uid=root is not a number from 0 to 4294967294\.$/],
    ['gid=-1', /^gid=-1 is not a number/],
    ['uid=4294967295', /is not a number/],
    ['uid', /needs a value/],
    ['idmap-uid=0:1000', /^idmap-uid=0:1000 is not of the form local:server:count\.$/],
    ['idmap-uid=0:1000:1:1', /is not of the form/],
    ['idmap-gid=a:1000:1', /is not of the form/],
    ['idmap-uid=0:1000:1/', /is not of the form/],
    ['idmap-uid=0:-5:1', /is not of the form/],
    ['idmap-uid=0:1000:0', /at least one id/],
    ['groups=staff', /^groups=staff is not a list of numbers from 0 to 4294967294\.$/],
    ['groups=1:', /is not a list of numbers/],
    ['groups=4294967295', /is not a list of numbers/],
    ['groups', /needs a value/],
    ['groups=5:6,idmap-gid=5:1005:1', /^groups=6: group 6 has no counterpart in idmap-gid\.$/],
    ['idmap-uid=4294967290:0:6', /ends at 4294967294/],
    ['idmap-uid=0:4294967290:6', /ends at 4294967294/],
    [
      'idmap-uid=0:1000:10,idmap-uid=5:2000:1',
      /^idmap-uid: 0:1000:10 and 5:2000:1 both have id 5 of this machine\.$/,
    ],
    [
      'idmap-gid=0:1000:10/50:1009:3',
      /^idmap-gid: 0:1000:10 and 50:1009:3 both have id 1009 of the server\.$/,
    ],
  ];
  for (const [options, message] of cases) {
    const error = refusal(options);
    t.match(error.message, message, options);
    t.ok(error.remedy, options);
  }
});

t.test('an argument is one option, whatever characters it contains', async (t) => {
  const texts = identityOptionTexts({
    'idmap-uid': ['0:1:1,ro'],
    'idmap-gid': ['0:1:1"'],
    groups: undefined,
  });
  t.equal(refusal(texts[0] ?? '').message, 'idmap-uid=0:1:1,ro is not of the form local:server:count.');
  t.match(refusal(texts[1] ?? '').message, /^idmap-gid=0:1:1" is not of the form/);
});

t.test(
  'the command line accepts the arguments, and refuses wrong ones before it asks a server',
  async (t) => {
    const help = await nfsFuse(['mount', '--help']);
    t.match(help.stdout, /--idmap-uid\s+Which users of this machine/);
    t.match(help.stdout, /--idmap-gid/);
    t.match(help.stdout, /uid=1000,gid=1000/);
    const wrong = await nfsFuse(['mount', '--idmap-uid', '0:1', 'server.invalid:/x', '/mnt']);
    t.equal(wrong.status, 1);
    t.match(wrong.stderr, /^.*idmap-uid=0:1 is not of the form local:server:count\./);
  },
);
