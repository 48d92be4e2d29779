/** `-o` and `server:/export`: the accepted forms, and the messages about all others. */
import t from 'tap';
import { UserError } from '../../lib/base/user-error.js';
import { flagsOf, type KernelFlag, withWishes } from '../../lib/fuse/index.js';
import { withoutHelpersDefaults } from '../../lib/mount/options/kernel-flags.js';
import { type MountRequest, parseMountRequest } from '../../lib/mount/options/mount-options.js';
import { looksLikeTarget, parseMountTarget } from '../../lib/mount/options/mount-target.js';
import { splitOptionList } from '../../lib/mount/options/option-list.js';
import { DEFAULT_CONFIG } from '../../lib/vfs/config.js';

function parse(...options: string[]): MountRequest {
  return parseMountRequest('server:/export', options);
}

function refusal(action: () => unknown): UserError {
  try {
    action();
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
  throw new Error('accepted');
}

t.test('a mount without options has the defaults of nfs(5), and does not retry', async (t) => {
  const request = parse();
  t.strictSame(request.client, {
    ...DEFAULT_CONFIG,
    host: 'server',
    exportPath: Buffer.from('/export'),
    retryMs: 0,
  });
  t.strictSame(request.fuse, {
    allowOther: false,
    defaultPermissions: false,
    noExec: false,
    debug: false,
    labels: {},
    flags: {},
  });
  t.equal(request.remount, false);
  t.equal(request.source, 'server:/export');
  t.equal(request.background, false);
  t.equal(request.addressFamily, undefined);
});

t.test('each option sets what nfs(5) says', async (t) => {
  const cases: [string, Partial<MountRequest['client']>][] = [
    ['ro', { readOnly: true }],
    ['ro,rw', { readOnly: false }],
    ['port=2049', { port: 2049 }],
    ['port=0', { port: undefined }],
    ['mountport=20048', { mountPort: 20048 }],
    ['mountport=0', { mountPort: undefined }],
    ['mounthost=other', { mountHost: 'other' }],
    ['mounthost=[::1]', { mountHost: '::1' }],
    ['proto=tcp', { proto: 'tcp', timeoMs: 60_000, retrans: 2 }],
    ['proto=udp', { proto: 'udp', timeoMs: 1_100, retrans: 3 }],
    ['udp', { proto: 'udp', timeoMs: 1_100, retrans: 3 }],
    ['udp,tcp', { proto: 'tcp', timeoMs: 60_000, retrans: 2 }],
    ['udp,timeo=7,retrans=5', { timeoMs: 700, retrans: 5 }],
    ['timeo=600', { timeoMs: 60_000 }],
    ['timeo=1', { timeoMs: 100 }],
    ['retrans=0', { retrans: 0 }],
    ['hard', { recovery: 'hard' }],
    ['soft', { recovery: 'soft' }],
    ['softerr', { recovery: 'softerr' }],
    ['soft,hard', { recovery: 'hard' }],
    ['retry=3', { retryMs: 180_000 }],
    ['bg', { retryMs: 600_000_000 }],
    ['bg,fg', { retryMs: 0 }],
    ['bg,retry=1', { retryMs: 60_000 }],
    ['nconnect=16', { nconnect: 16 }],
    ['resvport', { resvport: true }],
    ['resvport,noresvport', { resvport: false }],
    ['vers=3', {}],
    ['nfsvers=3', {}],
    ['v3', {}],
    ['rsize=65536', { rsize: 65_536 }],
    ['rsize=1023', { rsize: 4096 }],
    ['rsize=0', { rsize: 4096 }],
    ['rsize=1024', { rsize: 1024 }],
    ['rsize=5000', { rsize: 4096 }],
    ['rsize=1048577', { rsize: 1_048_576 }],
    ['wsize=4294967295', { wsize: 1_048_576 }],
    ['wsize=2047', { wsize: 1024 }],
    ['readahead=0', { readAhead: 0 }],
    ['readahead=1048576', { readAhead: 1_048_576 }],
    ['writebehind=0', { writeBehind: 0 }],
    ['noattrbehind', { attributesBehind: false }],
    ['noattrbehind,attrbehind', { attributesBehind: true }],
    ['allow_other', { kernelChecks: true }],
    ['default_permissions', { kernelChecks: true }],
    ['writebehind=4294967295', { writeBehind: 4_294_967_295 }],
    ['direct_io', { directIo: true }],
    ['sync', { sync: true }],
    ['sync,async', { sync: false }],
    ['noac', { attributeCache: false, sync: true }],
    ['noac,async', { attributeCache: false, sync: true }],
    ['noac,ac', { attributeCache: true, sync: false }],
    ['acregmin=5', { acRegMinMs: 5_000, acRegMaxMs: 60_000 }],
    ['acregmin=90', { acRegMinMs: 90_000, acRegMaxMs: 90_000 }],
    ['acregmax=1', { acRegMinMs: 1_000, acRegMaxMs: 1_000 }],
    ['acdirmin=61', { acDirMinMs: 61_000, acDirMaxMs: 61_000 }],
    ['acdirmax=10', { acDirMinMs: 10_000, acDirMaxMs: 10_000 }],
    ['acregmin=0,acregmax=0', { acRegMinMs: 0, acRegMaxMs: 0 }],
    ['actimeo=7', { acRegMinMs: 7000, acRegMaxMs: 7000, acDirMinMs: 7000, acDirMaxMs: 7000 }],
    ['actimeo=7,acregmin=3', { acRegMinMs: 3000, acRegMaxMs: 7000 }],
    ['nocto', { closeToOpen: false }],
    ['nocto,cto', { closeToOpen: true }],
    ['noearlyread', { earlyRead: false }],
    ['quotadf', { quotaDf: true }],
    ['quotadf,noquotadf', { quotaDf: false }],
    ['noearlyread,earlyread', { earlyRead: true }],
    ['fsc', { diskCache: { folder: undefined }, diskCacheSize: undefined }],
    ['fsc=/var/cache/x', { diskCache: { folder: '/var/cache/x' } }],
    ['fsc=/var/cache/x,fsc', { diskCache: { folder: undefined } }],
    ['fsc,nofsc', { diskCache: undefined }],
    ['fsc,fscsize=1048576', { diskCacheSize: 1_048_576 }],
    ['fscsize=2M,fsc', { diskCacheSize: 2_097_152 }],
    ['fsc,fscsize=20g', { diskCacheSize: 20 * 1024 ** 3 }],
    ['fsc,fscsize=1T', { diskCacheSize: 1024 ** 4 }],
    ['fscsize=20g,nofsc', { diskCache: undefined }],
    ['fsc,noac', { diskCache: undefined }],
    ['fsc,actimeo=0', { diskCache: undefined }],
    ['fsc,acregmin=0', { diskCache: { folder: undefined } }],
    ['nowalkahead', { walkAhead: false }],
    ['nowalkahead,walkahead', { walkAhead: true }],
    ['', { directCreate: 'far' }],
    ['nodirectcreate', { directCreate: false }],
    ['nodirectcreate,directcreate', { directCreate: true }],
    ['lookupcache=none', { lookupCache: 'none' }],
    ['lookupcache=pos', { lookupCache: 'pos' }],
    ['lookupcache=positive', { lookupCache: 'pos' }],
    ['lookupcache=none,lookupcache=all', { lookupCache: 'all' }],
    ['nordirplus', { rdirplus: 'none' }],
    ['rdirplus', { rdirplus: 'auto' }],
    ['rdirplus=force', { rdirplus: 'force' }],
    ['rdirplus=none', { rdirplus: 'none' }],
  ];
  for (const [options, expected] of cases) t.match(parse(options).client, expected, options);
});

t.test('options of the FUSE mount reach the FUSE side', async (t) => {
  t.match(parse('allow_other,default_permissions,noexec,debug').fuse, {
    allowOther: true,
    defaultPermissions: true,
    noExec: true,
    debug: true,
  });
  t.equal(parse('noexec,exec').fuse.noExec, false);
});

t.test('options set and clear flags of the kernel, and the last one counts', async (t) => {
  const after = (present: readonly KernelFlag[], options: string) =>
    withWishes(present, parse(options).fuse.flags).join(',');
  t.equal(after(['nosuid', 'nodev'], 'ro,noexec,exec,noatime'), 'ro,nosuid,nodev,noatime');
  t.equal(after(['ro', 'nosuid', 'nodev', 'noatime'], 'rw,relatime'), 'nosuid,nodev,relatime');
  t.equal(after(['noatime'], 'atime'), 'relatime');
  t.equal(after(['relatime'], 'strictatime'), 'strictatime');
  t.equal(after(['relatime'], 'suid,dev,nosuid'), 'nosuid,relatime');
  t.same(flagsOf({ options: 'rw,nosuid,relatime', superOptions: 'ro,sync,user_id=0' }), [
    'ro',
    'nosuid',
    'sync',
    'relatime',
  ]);
});

t.test('options that mount.fuse3 adds to every mount do not count as requests', async (t) => {
  t.same(withoutHelpersDefaults(['rw,port=1,dev,suid']), ['rw,port=1']);
  t.same(withoutHelpersDefaults(['rw,dev,suid,dev,suid']), ['rw,dev,suid'], 'asked for, and added');
  t.same(withoutHelpersDefaults(['rw,nodev,suid']), ['rw,nodev']);
  t.same(withoutHelpersDefaults(['dev,suid']), []);
  t.same(withoutHelpersDefaults([]), []);
});

t.test('tcp6 and udp6 insist on an IPv6 address', async (t) => {
  t.match(parse('proto=tcp6'), { addressFamily: 6, client: { proto: 'tcp' } });
  t.match(parse('proto=udp6'), { addressFamily: 6, client: { proto: 'udp' } });
  t.equal(parse('proto=tcp6,tcp').addressFamily, undefined);
});

t.test('options that mount(8), fstab and mount.fuse3 add are accepted without a message', async (t) => {
  const handedOver =
    'rw,nosuid,nodev,dev,suid,noexec,exec,relatime,noatime,nodiratime,lazytime,_netdev,auto,noauto,user,' +
    'user=ann,users,nofail,x-systemd.automount,x-systemd.idle-timeout=1min,X-mount.mkdir=0755,comment=hello,' +
    'defaults,intr,nointr,sec=sys,noacl,nofsc,mountvers=3,silent';
  const request = parse(handedOver);
  t.strictSame(request.client, parse().client);
  t.strictSame(request.notes, []);
});

t.test('a cache on the disk that nothing could be read from is left out, and a note says so', async (t) => {
  for (const options of ['fsc,noac', 'actimeo=0,fsc'])
    t.match(parse(options).notes, [/^fsc has no effect: with noac or actimeo=0/], options);
  t.same(parse('fsc').notes, []);
  t.same(parse('nofsc,noac').notes, []);
});

t.test('locks go where lock, nolock, local_lock and nlmport say', async (t) => {
  t.match(parse().client, { locks: 'offered', localLock: 'none', lockLost: 'eio', lockPort: undefined });
  t.match(parse('lock').client, { locks: 'insist' });
  t.match(parse('lock,nolock').client, { locks: 'none' });
  for (const kinds of ['none', 'flock', 'posix', 'all'])
    t.match(parse(`local_lock=${kinds}`).client, { localLock: kinds });
  t.match(parse('locklost=ignore').client, { lockLost: 'ignore' });
  t.match(parse('nlmcallback').client, { lockCallback: true });
  t.match(parse('nlmport=4045').client, { lockPort: 4045 });
  t.match(parse('nlmport=0').client, { lockPort: undefined }, 'the portmapper is asked, as with port=0');
  t.match(parse('rquotaport=875').client, { quotaPort: 875 });
  t.match(parse('nolock,lock').client, { locks: 'insist' }, 'the last one counts');
  t.throws(() => parse('local_lock=some'), /local_lock=some is not one of none, flock, posix, all/);
});

t.test('the last of several -o wins, in the order given', async (t) => {
  t.equal(parse('port=1', 'port=2').client.port, 2);
  t.equal(parseMountRequest('nfs://server:3/export', []).client.port, 3);
  t.equal(parseMountRequest('nfs://server:3/export', ['port=4']).client.port, 4);
});

t.test('sloppy ignores unknown options with a note, and no other faults', async (t) => {
  t.strictSame(parse('sloppy,frobnicate=1').notes, [
    'The unknown mount option "frobnicate" is ignored (sloppy).',
  ]);
  t.match(refusal(() => parse('sloppy,port=x')).message, /port=x is not a number/);
});

t.test('impossible options are refused with a reason and a remedy', async (t) => {
  const cases: [options: string, message: RegExp, remedy: RegExp][] = [
    ['prot=tcp', /option "prot" is unknown/, /Did you mean "port"|Did you mean "proto"/],
    ['rszie=1', /option "rszie" is unknown/, /Did you mean "rsize"\?/],
    ['lookup_cache=all', /option "lookup_cache" is unknown/, /Did you mean "lookupcache"\?/],
    ['frobnicate', /option "frobnicate" is unknown/, /README/],
    ['vers=4', /vers=4: nfs-fuse speaks only NFSv3/, /vers=3/],
    ['nfsvers=4.2', /nfsvers=4\.2: nfs-fuse speaks only NFSv3/, /nfsvers=3/],
    ['v4.1', /only NFSv3/, /vers=3/],
    ['minorversion=1', /only NFSv3/, /vers=3/],
    ['port=70000', /port=70000 is not a number from 0 to 65535/, /port is a port number/],
    ['port=abc', /port=abc is not a number/, /port number/],
    ['port=-1', /port=-1 is not a number/, /port number/],
    ['port', /"port" needs a value/, /port=port number/],
    ['port=', /"port" needs a value/, /port=/],
    ['ro=1', /"ro" takes no value, but got "1"/, /ro alone/],
    ['timeo=0', /timeo=0 is not a number from 1 to 6000/, /tenths of a second/],
    ['timeo=1.5', /timeo=1\.5 is not a number/, /tenths of a second/],
    ['retry=1h', /retry=1h is not a number/, /minutes/],
    ['acregmin=5s', /acregmin=5s is not a number/, /seconds/],
    ['acregmin=10,acregmax=5', /acregmin=10 is larger than acregmax=5/, /actimeo/],
    ['acdirmin=10,acdirmax=5', /acdirmin=10 is larger than acdirmax=5/, /actimeo/],
    ['rsize=1M', /rsize=1M is not a number/, /bytes/],
    ['readahead=off', /readahead=off is not a number/, /bytes/],
    ['writebehind=4294967296', /writebehind=4294967296 is not a number/, /bytes/],
    ['nconnect=17', /nconnect=17 is not a number from 1 to 16/, /connections/],
    ['nconnect=2,udp', /nconnect is for TCP/, /proto=tcp/],
    ['proto=sctp', /proto=sctp is not one of tcp, udp, tcp6, udp6/, /tcp or udp/],
    ['proto=toString', /proto=toString is not one of/, /tcp or udp/],
    ['proto=rdma', /RDMA is not supported/, /tcp or udp/],
    ['lookupcache=some', /lookupcache=some is not one of all, pos/, /all, pos or none/],
    ['rdirplus=maybe', /rdirplus=maybe is not one of force, none/, /heuristic/],
    ['sec=krb5', /sec=krb5 is not one of sys\. Kerberos is not supported/, /sec=sys/],
    ['mountproto=udp', /same transport as NFS/, /proto=/],
    ['mountvers=1', /version 3 of the MOUNT protocol/, /mountvers=3/],
    ['fsc=cache', /fsc=cache is no absolute path/, /fsc alone/],
    ['fsc=', /fsc= is no absolute path/, /fsc alone/],
    ['fsc,fscsize=20', /fscsize=20 is not a size/, /fscsize=20g/],
    ['fsc,fscsize=0', /fscsize=0 is not a size/, /fscsize=20g/],
    ['fsc,fscsize=1.5g', /fscsize=1\.5g is not a size/, /fscsize=20g/],
    ['fsc,fscsize=10%', /fscsize=10% is not a size/, /fscsize=20g/],
    ['fsc,fscsize=20gb', /fscsize=20gb is not a size/, /fscsize=20g/],
    ['fsc,fscsize=9000t', /fscsize=9000t is not a size/, /fscsize=20g/],
    ['fsc,fscsize', /"fscsize" needs a value/, /fscsize=size/],
    ['fscsize=20g', /there is none without fsc/, /fsc as well/],
    ['fsname=x', /mount table is always the server and the export/, /fsname/],
    ['subtype=x', /always fuse\.nfs-fuse/, /subtype/],
    ['allow_root', /allow_root is not supported/, /allow_other/],
    ['"ro', /quote that is never closed/, /Close it/],
  ];
  for (const [options, message, remedy] of cases) {
    const error = refusal(() => parse(options));
    t.match(error.message, message, options);
    t.match(error.remedy, remedy, options);
  }
});

t.test('commas in quotes and behind backslashes belong to the value', async (t) => {
  t.strictSame(splitOptionList('a,b=c,,d='), [
    { name: 'a', value: undefined },
    { name: 'b', value: 'c' },
    { name: 'd', value: '' },
  ]);
  t.strictSame(splitOptionList('x-a="1,2",b=3\\,4,c=\\"q\\"\\\\'), [
    { name: 'x-a', value: '1,2' },
    { name: 'b', value: '3,4' },
    { name: 'c', value: '"q"\\' },
  ]);
  t.strictSame(splitOptionList(' ro , rw '), [
    { name: 'ro', value: undefined },
    { name: 'rw', value: undefined },
  ]);
  t.strictSame(splitOptionList('a=b=c'), [{ name: 'a', value: 'b=c' }]);
  t.strictSame(splitOptionList(''), []);
});

t.test('a target may have every usual spelling', async (t) => {
  const cases: [string, string, string, number | undefined, string][] = [
    ['server:/export', 'server', '/export', undefined, 'server:/export'],
    ['server:/', 'server', '/', undefined, 'server:/'],
    ['server:/a/b//', 'server', '/a/b', undefined, 'server:/a/b'],
    ['10.0.0.1:/a:b', '10.0.0.1', '/a:b', undefined, '10.0.0.1:/a:b'],
    ['[::1]:/export', '::1', '/export', undefined, '[::1]:/export'],
    ['[fe80::1%eth0]:/x', 'fe80::1%eth0', '/x', undefined, '[fe80::1%eth0]:/x'],
    ['nfs://server/export', 'server', '/export', undefined, 'server:/export'],
    ['nfs://server:20490/export/', 'server', '/export', 20490, 'server:/export'],
    ['NFS://[::1]:2049/x', '::1', '/x', 2049, '[::1]:/x'],
    ['server:/größe', 'server', '/größe', undefined, 'server:/größe'],
    ['nfs://server/a%20b', 'server', '/a b', undefined, 'server:/a b'],
  ];
  for (const [text, host, path, port, source] of cases)
    t.strictSame(parseMountTarget(text), { host, exportPath: Buffer.from(path), port, source }, text);
  t.strictSame(parseMountTarget('nfs://server/%ff%00'.slice(0, -3)).exportPath, Buffer.from([0x2f, 0xff]));
  t.ok(looksLikeTarget('server:/x'));
  t.notOk(looksLikeTarget('mount'));
});

t.test('a wrong target is refused with the reason and the right spelling', async (t) => {
  const cases: [string, RegExp][] = [
    ['server', /has no ":"/],
    ['/local/path', /has no ":"/],
    [':/export', /names no server/],
    ['server:', /names no exported path/],
    ['server:export', /does not begin with "\/"/],
    ['::1:/export', /IPv6 address without brackets/],
    ['[::1:/export', /has no "\]"/],
    ['[server]:/export', /names no IPv6 address/],
    ['[::1]/export', /has no ":" between/],
    ['nfs://server', /names no exported path/],
    ['nfs://server:0/x', /not a number from 1 to 65535/],
    ['nfs://server:abc/x', /not a number from 1 to 65535/],
    ['nfs://user@server/x', /names a user/],
    ['nfs://server/x?version=4', /mount options go with -o/],
    ['nfs://server/%zz', /without two hexadecimal digits/],
    ['nfs://server/%00', /NUL byte/],
    ['-server:/x', /begins with "-"/],
    ['nfs://-server/x', /begins with "-"/],
    ['ser ver:/x', /where the server's name should be/],
    [`server:/${'x'.repeat(1024)}`, /exported path of 1025 bytes; NFS allows 1024/],
    ['server:/\ufffd', /not valid UTF-8/],
  ];
  for (const [text, message] of cases) {
    const error = refusal(() => parseMountTarget(text));
    t.match(error.message, message, text);
    t.ok(error.remedy, text);
  }
  t.equal(refusal(() => parseMountTarget('::1:/export')).remedy, 'Write [::1]:/export');
});
