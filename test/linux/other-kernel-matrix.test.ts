/**
 * A sample of the consistency matrix (test/consistency/matrix) on another kernel: two mounts of nfs-fuse in a guest of Linux
 * 6.1 show nothing older than Linux's own client there.
 */
import t from 'tap';
import { recordFor } from '../consistency/matrix/linux-record.js';
import {
  commandLine,
  type Outcomes,
  PASS_OPTIONS,
  PASSES,
  type Pass,
  parse,
  runProgram,
} from '../consistency/matrix/program.js';
import { judge } from '../consistency/matrix/verdict.js';
import { exportFolder } from '../support/folders.js';
import { Ganesha } from '../support/ganesha.js';
import { Guest, shellLine } from '../support/guest/guest.js';
import { GuestNetwork } from '../support/guest/network.js';
import { mountInGuest, unmountInGuest } from '../support/guest/product.js';
import { untilEnd } from '../support/until-end.js';

/** One combination in this many, some 140 of them: programs in a guest are slow. */
const EVERY = 288;
const TIMEOUT_MS = 20 * 60_000;
const FOLDERS = { a: '/mnt/a', b: '/mnt/b', look: '/mnt/look' };

t.test("nothing older than Linux's own client shows on Linux 6.1", { timeout: TIMEOUT_MS }, async (t) => {
  const record = recordFor('ganesha');
  t.equal(EVERY % record.every, 0, 'the record knows these combinations');
  const network = untilEnd(t, await GuestNetwork.make());
  const server = untilEnd(t, await Ganesha.start({ network }));
  const guest = await Guest.boot({ network, modules: ['fuse'], memory: '2G' });
  t.teardown(() => guest.kill());
  const { exportPath, mountOptions } = server;
  const source = { host: guest.cable.host, exportPath, mountOptions };

  const local = untilEnd(t, exportFolder());
  const { path } = local;
  const truth = await runProgram('at-once', EVERY, { a: path, b: path, look: path });
  t.ok(truth.size > 50, `${truth.size} combinations`);

  const outcomes = async (pass: Pass): Promise<Outcomes> => {
    const options = ['allow_other', ...PASS_OPTIONS[pass]];
    await mountInGuest(guest, source, FOLDERS.a, options);
    await mountInGuest(guest, source, FOLDERS.b, options);
    await mountInGuest(guest, source, FOLDERS.look, ['actimeo=0', 'lookupcache=none']);
    const said = await guest.mustRun(shellLine(commandLine(pass, EVERY, FOLDERS)), TIMEOUT_MS);
    for (const folder of Object.values(FOLDERS)) await unmountInGuest(guest, folder);
    return parse(said);
  };
  for (const pass of PASSES) {
    const { staler, different } = judge(truth, await outcomes(pass), record.passes[pass]);
    t.comment(`${pass}: ${truth.size} combinations, ${different} differ from a local directory`);
    t.same(staler, [], `${pass}: no combination in which only Linux's client is right`);
  }
});
