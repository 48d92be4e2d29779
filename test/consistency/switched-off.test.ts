/**
 * Everything that saves round trips by being ahead of programs, or behind them, can be switched off: then all else is as it
 * was. A sample of the consistency matrix, of the workloads that are compared with a reference, and of the call counts.
 * NFS_FUSE_TEST_OPTIONS has other suites run so.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { roughEmbedded, runRough } from '../model/rough-mount.js';
import { countedServer, LONG, makeTree, total } from '../support/counted-server.js';
import { ROUGH } from '../support/fault-plan.js';
import { SWITCHED_OFF } from '../support/switched-off.js';
import { matrixOn, SAMPLE } from './matrix/suite.js';

matrixOn(t, 'ganesha', 2 * SAMPLE, ['at-once', 'later'], SWITCHED_OFF);

t.test('a workload has the results of the reference', { timeout: 300_000 }, async (t) => {
  const options = SWITCHED_OFF;
  const run = { seed: 1, server: roughEmbedded, rates: ROUGH, operations: 150, crashEvery: 100, options };
  t.ok((await runRough(t, run)) > 0, 'it crashed');
});

t.test('each call waits for the one before it', async (t) => {
  const { directory, place, mount, cost } = await countedServer(t);
  for (const name of ['first', 'second']) writeFileSync(`${directory}/${name}`, 'x');
  const client = await mount([...LONG, ...SWITCHED_OFF]);
  await client.fs.readFile('first');
  const reading = await cost(() => client.fs.readFile('second'));
  t.same(reading, { calls: { LOOKUP: 1, ACCESS: 1, READ: 1 }, rounds: 3 });

  const files = 20;
  const source = `${place.folder}/source`;
  mkdirSync(`${source}/new`, { recursive: true });
  for (let i = 0; i < files; i++) writeFileSync(`${source}/new/file${i}`, 'x'.repeat(100 * i + 1));
  await client.mount.mustRun(['tar', '-cf', `${source}/archive`, '-C', source, 'new']);
  const { calls } = await cost(() => client.mount.mustRun(['tar', '-xf', `${source}/archive`]));
  t.match(calls, { CREATE: files, WRITE: files });
  t.ok((calls.LOOKUP ?? 0) >= files, `${calls.LOOKUP} LOOKUP: each new name is asked for`);
  t.ok((calls.SETATTR ?? 0) >= 2 * files, `${calls.SETATTR} SETATTR: nothing waits for another`);

  makeTree(directory, files);
  const walker = await mount([...LONG, ...SWITCHED_OFF, 'nocto']);
  const walking = await cost(() => walker.mount.mustRun(['find', 'tree']));
  t.equal(walking.calls.READDIRPLUS, files + 1);
  t.ok(walking.rounds >= files && walking.rounds <= total(walking.calls), `${walking.rounds} rounds`);
});
