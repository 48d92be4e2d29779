/** Names from a server are shown on one line, without characters that control a terminal. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parsedJson } from '../../lib/base/json.js';
import { shownJson, shownName } from '../../lib/base/shown-name.js';
import { ratesText } from '../../lib/cli/stats/rates-text.js';
import { unwrittenIn } from '../../lib/mount/failure/unwritten.js';
import { parseMountRequest } from '../../lib/mount/options/mount-options.js';
import { describeOtherPlaces } from '../../lib/mount/reach/other-places.js';
import { EmbeddedServer } from '../../lib/server/index.js';
import { describePath, type Inode } from '../../lib/vfs/cache/inode.js';
import { publicFolder } from '../support/folders.js';
import { untilEnd } from '../support/until-end.js';
import { exported, startMock } from './support/mock-server.js';
import { nfsFuse } from './support/product.js';

/** Clears the screen, adds a forged line, overwrites it, and reverses the direction of the following text. */
const NASTY = 'a\x1b[2Jb\nc\rd\te\x7ff\x9b1mg\u202eh\u2028i';
const SHOWN = 'a\\x1b[2Jb\\x0ac\\x0dd\\x09e\\x7ff\\x9b1mg\\u202eh\\u2028i';
/** Matches characters that must not reach a terminal. */
const UNSAFE = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]/;

t.test('control characters for a terminal are escaped, and other text stays unchanged', (t) => {
  t.equal(shownName(NASTY), SHOWN);
  t.equal(shownName('/Übung/日本/emoji 👩‍🚀'), '/Übung/日本/emoji 👩‍🚀');
  const json = shownJson({ path: NASTY });
  t.notMatch(json, UNSAFE);
  t.same(JSON.parse(json), { path: NASTY }, 'JSON still means the same');
  t.end();
});

t.test('a path in a message of the mount takes one line', (t) => {
  const root = { isRoot: true, name: '', parent: undefined };
  const latin1 = Buffer.from('two\nlines\x1b[1m').toString('latin1');
  const inode = { isRoot: false, name: latin1, parent: root } as unknown as Inode;
  t.equal(describePath(inode), '/two\\x0alines\\x1b[1m');
  t.end();
});

t.test('answers of the process of a mount add no lines to what stats shows', async (t) => {
  const none = { operations: 1, opsPerSecond: 0, kBPerSecond: 0, kBPerOp: 0, retransmissions: 0, errors: 0 };
  const forged = { program: NASTY, procedure: NASTY, ...none, rttMs: 0, executionMs: 0 };
  const rates = ratesText(
    { source: NASTY, mountpoint: NASTY },
    {
      ...{ pid: 1, seconds: 1, sinceMount: true, newProcess: false },
      ...{ opsPerSecond: 0, kBPerSecond: 0, retransmissions: 0, procedures: [forged] },
    },
    { all: true, time: '12:00:00' },
  );
  t.notMatch(rates, UNSAFE);
  t.equal(rates.trimEnd().split('\n').length, 5, rates);
  const places = describeOtherPlaces({ mountpoints: [NASTY], processes: [] });
  t.equal(places, `It is mounted on ${SHOWN} too.`);
  const [note] = parseMountRequest('server:/export', ['sloppy', `a\n<0>b`]).notes;
  t.equal(note, 'The unknown mount option "a\\x0a<0>b" is ignored (sloppy).');
});

t.test('what another process says of unwritten data is taken for that only if it is', async (t) => {
  const told = { bytes: 5, files: 2, largest: [{ path: `/${NASTY}`, bytes: 4 }, { path: 7 }, null] };
  t.same(unwrittenIn(told), { bytes: 5, files: 2, largest: [{ path: `/${SHOWN}`, bytes: 4 }] });
  for (const value of [undefined, null, 7, [], {}, { bytes: '5', files: 1, largest: [] }])
    t.equal(unwrittenIn(value), undefined);
});

t.test('JSON that is nested so deep that nobody can walk through it is none', async (t) => {
  const deep = (levels: number) => `${'[{"a":'.repeat(levels)}1${'}]'.repeat(levels)}`;
  t.type(parsedJson(deep(20)), Array);
  t.equal(parsedJson(deep(20_000)), undefined);
  t.same(parsedJson('"\\"[[\\\\"'), '"[[\\');
  t.same(parsedJson(JSON.stringify(['['.repeat(1_000)])), ['['.repeat(1_000)]);
  t.equal(parsedJson('{'), undefined);
});

t.test('exports shows paths and clients without control characters', async (t) => {
  const server = untilEnd(
    t,
    await startMock({ exports: [exported(`/${NASTY}`, `host${NASTY}`), exported('/plain')] }),
  );
  const { stdout, status } = await nfsFuse(['exports', '-o', server.options, '127.0.0.1']);
  t.equal(status, 0);
  t.notMatch(stdout, UNSAFE);
  const [, first = '', second = '', ...more] = stdout.trimEnd().split('\n');
  t.equal(first, `/${SHOWN} host${SHOWN}`);
  t.match(second, /^\/plain +\(everyone\)$/);
  t.same(more, []);
  const json = (await nfsFuse(['exports', '--json', '-o', server.options, '127.0.0.1'])).stdout;
  t.notMatch(json, UNSAFE);
  t.match(JSON.parse(json), [{ path: `/${NASTY}`, clients: [`host${NASTY}`] }, { path: '/plain' }]);
});

t.test('a refused mount names the exports and clients without control characters', async (t) => {
  const server = untilEnd(
    t,
    await startMock({ exports: [exported('/export', `host${NASTY}`), exported(`/${NASTY}`)] }),
  );
  const folder = untilEnd(t, publicFolder());
  for (const path of ['/export', '/other']) {
    const outcome = await nfsFuse(['mount', '-o', server.options, `127.0.0.1:${path}`, folder.path]);
    t.equal(outcome.status, 1);
    t.notMatch(outcome.stderr, UNSAFE);
    t.equal(outcome.stderr.trimEnd().split('\n').length, 2, outcome.stderr);
    t.ok(outcome.stderr.includes(SHOWN), outcome.stderr);
  }
});

t.test('sweep lists leftovers without control characters', async (t) => {
  const served = untilEnd(t, publicFolder());
  const nasty = join(served.path, NASTY);
  mkdirSync(nasty);
  writeFileSync(join(nasty, '.nfs000000000000000100000001'), 'left');
  const server = untilEnd(t, await EmbeddedServer.start({ path: served.path }));
  const flags = ['--older-than', '0s', '-o', `port=${server.port},mountport=${server.port}`];
  const text = (await nfsFuse(['sweep', ...flags, '127.0.0.1:/export'])).stdout;
  t.notMatch(text, UNSAFE);
  t.match(text.split('\n')[0], `/${SHOWN}/.nfs000000000000000100000001  4 bytes`);
  const json = (await nfsFuse(['sweep', '--json', ...flags, '127.0.0.1:/export'])).stdout;
  t.notMatch(json, UNSAFE);
  t.match(JSON.parse(json), { path: `/${SHOWN}/.nfs000000000000000100000001` });
});
