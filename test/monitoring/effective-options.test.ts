/** The options in force are words that mount understands, and they make the very same mount. */
import t from 'tap';
import { effectiveOptions, type Settled } from '../../lib/mount/options/effective-options.js';
import { parseMountRequest } from '../../lib/mount/options/mount-options.js';

const SETTLED: Settled = {
  limits: { rsize: 65536, wsize: 32768, dtsize: 4096, nameMax: 255 },
  port: 2049,
  locksAtServer: true,
  hasDiskCache: true,
};

/** The options that the user has given, and a word that must be in force. */
const CASES: readonly (readonly [given: string, word: string])[] = [
  ['', 'hard'],
  ['soft,timeo=7,retrans=5', 'timeo=7'],
  ['softerr,proto=udp', 'proto=udp'],
  ['noac', 'noac'],
  ['actimeo=9', 'acdirmax=9'],
  ['sync', 'sync'],
  ['nocto,nowalkahead', 'nowalkahead'],
  ['nocto', 'walkahead'],
  ['lookupcache=none,nordirplus', 'rdirplus=none'],
  ['rdirplus=force,local_lock=flock', 'local_lock=flock'],
  ['nconnect=4,resvport', 'nconnect=4'],
  ['mounthost=[::1]', 'mounthost=[::1]'],
  ['readahead=0,writebehind=0,noattrbehind,direct_io,noearlyread', 'direct_io'],
  ['directcreate', 'directcreate'],
  ['nodirectcreate', 'nodirectcreate'],
  ['locklost=ignore,nlmcallback', 'locklost=ignore'],
  ['fsc="/a folder, with\\"all\\\\of it",fscsize=20g', 'fscsize=21474836480'],
  ['quotadf', 'quotadf'],
  ['uid=7,gid=8', 'uid=7'],
  ['allow_other,uid=7,gid=8,idmapped', 'idmapped'],
  ['idmap-uid=0:100:5/9:200:1,groups=4:5,idmap-gid=0:0:10', 'idmap-uid=9:200:1'],
];

t.test('each is in force, and read again it makes the same mount', async (t) => {
  for (const [given, word] of CASES) {
    const { client } = parseMountRequest('server:/export', [given]);
    const settled = { ...SETTLED, hasDiskCache: client.diskCache !== undefined };
    const words = effectiveOptions(client, settled);
    t.ok(words.includes(word), `${given}: ${words.join(',')}`);
    const again = parseMountRequest('server:/export', [words.join(',')]).client;
    // The server has settled these; before, they were left to it.
    t.same(again, { ...client, rsize: 65536, wsize: 32768, port: 2049, locks: 'insist' }, given);
  }
});

t.test('what the server or this machine lacks is not in force', async (t) => {
  const { client } = parseMountRequest('server:/export', ['fsc,nlmcallback']);
  const words = effectiveOptions(client, { ...SETTLED, locksAtServer: false, hasDiskCache: false });
  t.ok(words.includes('nolock') && words.includes('nofsc'));
  t.notOk(words.some((word) => /^(fsc|lock$|locklost|nlmcallback)/.test(word)));
});
