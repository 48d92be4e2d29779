/**
 * The range matrix (support/steps.ts) between a mount and Linux's own client, on Linux's own server: each is once the first
 * client, on which most locks are held, and once the second.
 */
import t, { type Test } from 'tap';
import { NFS_CLIENT } from '../support/guest/guest.js';
import { Knfsd } from '../support/guest/knfsd.js';
import { LockWorkers } from '../support/locks/workers.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { untilEnd } from '../support/until-end.js';
import { FEWER_CASES } from './support/cases.js';
import { DIFFERENCES_OF_LINUX, differencesOn } from './support/differences.js';
import { answersRight } from './support/suite.js';

const TIMEOUT_MS = 900_000;
const LINUX = '/mnt/nfs';

const place = untilEnd(t, await openPlace('root'));
const server = untilEnd(t, await Knfsd.start({ statd: true, modules: NFS_CLIENT.modules }));
await server.guest.mustRun(`mount -t nfs -o vers=3 ${server.host}:${server.exportPath} ${LINUX}`);
const mount = untilEnd(t, await Mount.start({ source: server, place }));

/** A folder of its own for each run, by both clients. */
async function clients(t: Test, folder: string): Promise<{ ours: LockWorkers; linux: LockWorkers }> {
  await server.guest.mustRun(`mkdir ${LINUX}/${folder}`);
  return {
    ours: untilEnd(t, LockWorkers.start(`${mount.path}/${folder}`)),
    linux: untilEnd(t, LockWorkers.inGuest(server.guest, server.network, `${LINUX}/${folder}`)),
  };
}

t.test('a mount first, Linux’s client second', { timeout: TIMEOUT_MS }, async (t) => {
  const { ours, linux } = await clients(t, 'ours-first');
  await answersRight(t, { a: ours, b: linux }, differencesOn('knfsd'), FEWER_CASES);
});

t.test('Linux’s client first, a mount second', { timeout: TIMEOUT_MS }, async (t) => {
  const { ours, linux } = await clients(t, 'linux-first');
  await answersRight(t, { a: linux, b: ours }, DIFFERENCES_OF_LINUX, FEWER_CASES);
});
