/** The FUSE side alone, mounted for real in each of the three ways, with a file system in memory behind it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseMountinfo } from '../../lib/fuse/mount/mountinfo.js';
import { compileServer, startServer } from '../support/fuse-place.js';
import { openPlace, type PlaceName } from '../support/places.js';
import { mustRun, run, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

/** A source that must survive every layer of option parsing. */
const SOURCE = 'server:/a b,suid,c\\d';

/** A program that shows what it sees of the mount. It runs in the place, with the mount point as its argument. */
const CLIENT = `
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import assert from 'node:assert/strict';
const top = Buffer.from(process.argv[2] + '/');
const at = (name) => Buffer.concat([top, Buffer.from(name)]);
const big = Buffer.alloc(5 * 1024 * 1024 + 17);
for (let i = 0; i < big.length; i++) big[i] = (i * 7 + (i >> 12)) & 255;
fs.writeFileSync(at('big'), big);
assert.equal(fs.statSync(at('big')).size, big.length);
const digest = (data) => createHash('sha256').update(data).digest('hex');
assert.equal(digest(fs.readFileSync(at('big'))), digest(big));
const fd = fs.openSync(at('big'), 'r+');
fs.writeSync(fd, Buffer.from('middle'), 0, 6, 3_000_001);
fs.ftruncateSync(fd, 4_000_000);
fs.fsyncSync(fd);
fs.closeSync(fd);
const expected = Buffer.from(big.subarray(0, 4_000_000));
expected.write('middle', 3_000_001);
assert.equal(digest(fs.readFileSync(at('big'))), digest(expected));
for (const name of [[0xff, 0xfe, 0x41], [0x0a], Buffer.from('ü€'), Buffer.alloc(255, 0x6e), [0x20]]) {
  fs.writeFileSync(at(name), Buffer.from(name));
  assert.deepEqual(fs.readFileSync(at(name)), Buffer.from(name));
  assert.ok(fs.readdirSync(top, { encoding: 'buffer' }).some((found) => found.equals(Buffer.from(name))));
  fs.renameSync(at(name), at('renamed'));
  fs.unlinkSync(at('renamed'));
}
assert.throws(() => fs.writeFileSync(at(Buffer.alloc(256, 0x6e)), ''), { code: 'ENAMETOOLONG' });
fs.mkdirSync(at('dir'));
fs.symlinkSync('some/target', at('dir/link'));
assert.equal(fs.readlinkSync(at('dir/link')), 'some/target');
fs.linkSync(at('big'), at('dir/hard'));
assert.equal(fs.statSync(at('dir/hard')).nlink, 2);
assert.throws(() => fs.rmdirSync(at('dir')), { code: 'ENOTEMPTY' });
fs.rmSync(at('dir').toString(), { recursive: true });
fs.chmodSync(at('big'), 0o600);
fs.utimesSync(at('big'), new Date(-5500), 2 ** 33);
const { mode, mtimeMs, atimeMs, uid } = fs.statSync(at('big'));
assert.deepEqual({ mode, mtimeMs, atimeMs }, { mode: 0o100600, mtimeMs: 2 ** 33 * 1000, atimeMs: -5500 });
assert.equal(uid, process.geteuid());
const entries = fs.readdirSync(at('many'));
assert.equal(entries.length, 10_000);
assert.equal(new Set(entries).size, 10_000);
for (const name of entries) assert.equal(fs.statSync(at('many/' + name)).size, Number(name.slice(6)));
console.log('all is well');
`;

for (const name of ['root', 'userns', 'user'] satisfies PlaceName[])
  t.test(name, { timeout: 120_000 }, async (t) => {
    const place = untilEnd(t, await openPlace(name));
    const [node = process.execPath] = place.product;
    const mountpoint = join(place.folder, 'mnt');
    await mustRun(place.command(['mkdir', mountpoint]));
    const command = compileServer(place);
    const client = join(place.folder, 'client.mjs');
    writeFileSync(client, CLIENT);
    const mounted = async () => {
      const text = await mustRun(place.command(['cat', '/proc/self/mountinfo']));
      return parseMountinfo(Buffer.from(text)).filter((entry) => entry.mountpoint.toString() === mountpoint);
    };
    const unmount = name === 'user' ? ['fusermount3', '-u', mountpoint] : ['umount', mountpoint];
    t.teardown(() =>
      run(place.command(name === 'user' ? ['fusermount3', '-uz', mountpoint] : ['umount', '-l', mountpoint])),
    );

    const first = await startServer(command, [mountpoint, SOURCE]);
    t.equal(first.output.trim(), name === 'user' ? 'mounted fusermount' : 'mounted direct');
    const [entry] = await mounted();
    t.equal(entry?.type, 'fuse.nfs-fuse');
    t.equal(entry?.source.toString(), SOURCE);
    t.match(entry?.options, /nosuid,nodev/);
    t.match(await mustRun(place.command([node, client, mountpoint]), { timeoutMs: 60_000 }), /all is well/);

    t.comment('mounting the same again is refused');
    const again = await run([...command, mountpoint, SOURCE]);
    t.match(JSON.parse(again.stderr.toString()), { code: 'already-mounted' });

    t.comment('a killed server leaves a dead mount, which the next one takes over');
    first.signal('SIGKILL');
    await first.ended;
    t.match((await run(place.command(['stat', '-f', mountpoint]))).stderr.toString(), /not connected/);
    const second = await startServer(command, [mountpoint, SOURCE]);
    t.equal((await mounted()).length, 1);
    t.match(await mustRun(place.command(['ls', mountpoint])), /many/);

    t.comment('unmounting from outside ends the server cleanly');
    await mustRun(place.command(unmount));
    const outcome = await second.ended;
    t.equal(outcome.status, 0);
    t.match(outcome.stdout.toString(), /closed unmounted destroyed 1/);
    t.equal((await mounted()).length, 0);

    t.comment('so does unmounting from inside');
    const third = await startServer(command, [mountpoint, SOURCE]);
    t.match((await third.stop()).stdout.toString(), /closed unmounted destroyed 1/);
    t.equal((await mounted()).length, 0);

    t.comment('a path that cannot be mounted on is refused with one clear message');
    writeFileSync(join(place.folder, 'file'), '');
    mkdirSync(join(place.folder, 'closed'), { mode: 0o700 });
    const refusals: [string, string][] = [
      [join(place.folder, 'missing'), 'mountpoint-missing'],
      [join(place.folder, 'file'), 'mountpoint-not-directory'],
      [join(place.folder, 'file/below'), 'mountpoint-not-directory'],
    ];
    if (name === 'user') refusals.push([join(place.folder, 'closed/below'), 'mountpoint-refused']);
    for (const [path, code] of refusals) {
      const refused = await run([...command, path, SOURCE]);
      t.match(JSON.parse(refused.stderr.toString()), { code });
    }
    if (name === 'user') {
      const allow = await run([...command, mountpoint, SOURCE, 'allow-other']);
      t.match(JSON.parse(allow.stderr.toString()), { code: 'allow-other', message: /fuse\.conf/ });
    }
    await until('nothing is left mounted', async () => (await mounted()).length === 0);
  });
