/**
 * Prometheus itself on what mounts expose and what the dashboard asks: its tool promtool reads both. And the numbers of calls are
 * those on the wire, as tshark counts them.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { stringify } from 'yaml';
import { PROCEDURE_NAMES } from '../../lib/programs/nfs3/index.js';
import { nfsFuse } from '../cli/support/product.js';
import { Capture } from '../support/capture.js';
import { publicFolder } from '../support/folders.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { run, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { startServer } from '../support/variants.js';
import { expressions, withValues } from './support/dashboard.js';
import { samplesIn } from './support/samples.js';

/** The calls that metrics show, by program and procedure. */
function callsIn(text: string): Map<string, number> {
  const calls = samplesIn(text).filter(({ name }) => name === 'nfs_fuse_rpc_calls_total');
  return new Map(calls.map(({ labels, value }) => [`${labels.program} ${labels.procedure}`, value]));
}

async function promtool(t: Test, args: readonly string[], input?: string): Promise<void> {
  const { status, stdout, stderr } = await run(['promtool', ...args], input === undefined ? {} : { input });
  t.equal(status, 0, `${stdout}${stderr}`);
  t.equal(stderr.toString(), '', 'promtool has nothing to object to');
}

t.test('promtool takes the metrics of a mount, and the numbers of calls are those on the wire', async (t) => {
  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await startServer('ganesha', place));
  const ports = server.mountOptions.flatMap((option) => option.match(/port=(\d+)/)?.[1] ?? []).map(Number);
  const mount = untilEnd(t, await Mount.start({ source: server, place, options: ['nconnect=2'] }));
  await mount.served();
  const agent = await mount.agent();
  const counted = async () => {
    const { stdout, stderr, status } = await nfsFuse(['stats', '--prometheus', mount.path]);
    if (status !== 0) throw new Error(stderr);
    return { text: stdout, calls: callsIn(stdout) };
  };
  /** Nothing is called any more: two looks are equal. */
  const atRest = async () => {
    let shown = await counted();
    await until('the mount is at rest', async () => {
      const before = JSON.stringify([...shown.calls]);
      shown = await counted();
      return JSON.stringify([...shown.calls]) === before;
    });
    return shown;
  };
  const before = await atRest();
  const capture = untilEnd(t, await Capture.start([...new Set(ports)]));
  await agent.mkdir('folder');
  for (const name of ['a', 'b', 'c']) {
    await agent.writeFile(`folder/${name}`, Buffer.alloc(300_000, name));
    await agent.stat(`folder/${name}`);
  }
  await agent.rename('folder/a', 'folder/d');
  await agent.symlink('d', 'folder/link');
  t.same((await agent.list('folder')).map(String), ['b', 'c', 'd', 'link']);
  await agent.unlink('folder/b');
  await agent.readFile('folder/d');
  const shown = await atRest();
  await promtool(t, ['check', 'metrics'], shown.text);

  const trace = await capture.finish();
  t.same(trace.complaints, []);
  const onWire = new Map<string, number>();
  for (const { kind, program, procedure } of trace.messages) {
    if (kind !== 'call' || program !== 'nfs') continue;
    const name = `NFS ${PROCEDURE_NAMES[procedure] ?? procedure}`;
    onWire.set(name, (onWire.get(name) ?? 0) + 1);
  }
  const sorted = (counts: ReadonlyMap<string, number>) =>
    [...counts].filter(([name, count]) => name.startsWith('NFS ') && count > 0).sort();
  const since = new Map(
    [...shown.calls].map(([name, calls]) => [name, calls - (before.calls.get(name) ?? 0)]),
  );
  t.same(sorted(since), sorted(onWire));
  for (const name of ['NFS WRITE', 'NFS LOOKUP', 'NFS RENAME', 'NFS READ'])
    t.ok((onWire.get(name) ?? 0) > 0, `${name} was called`);
});

t.test('promtool understands every expression of the dashboard', async (t) => {
  const scratch = untilEnd(t, publicFolder());
  const rules = expressions.map(({ target }, index) => ({
    record: `panel:expression:${index}`,
    expr: withValues(target.expr).text,
  }));
  const file = join(scratch.path, 'rules.yml');
  await writeFile(file, stringify({ groups: [{ name: 'dashboard', rules }] }));
  await promtool(t, ['check', 'rules', file]);
  await writeFile(file, stringify({ groups: [{ name: 'x', rules: [{ record: 'a', expr: 'sum(' }] }] }));
  t.not((await run(['promtool', 'check', 'rules', file])).status, 0, 'and would say so if it did not');
});
