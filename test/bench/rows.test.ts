/**
 * Every row of the benchmark, an eighth of its size: that it runs, is measured, and counts what goes over the wire. Not
 * in namespaces of its own, as `npm run bench` has it: they would keep the mounts of other tests alive.
 */
import { join } from 'node:path';
import t from 'tap';
import type { Report } from '../../bench/model.js';
import { REFERENCE } from '../../bench/reference.js';
import { run } from '../support/process.js';
import { projectRoot } from '../support/project.js';

const LOADER = ['--import', 'tsx'];
const OPTIONS = ['--quick', '--peers', 'local,rootless', '--disk', 'folder', '--json'];

t.test('npm run bench -- --quick measures every row', { timeout: 900_000 }, async (t) => {
  const bench = [...LOADER, join(projectRoot, 'bench/main.ts'), ...OPTIONS];
  const { status, stdout, stderr } = await run([process.execPath, ...bench], {
    cwd: projectRoot,
    timeoutMs: 800_000,
  });
  t.equal(status, 0, stderr.toString());
  const { rows } = JSON.parse(stdout.toString()) as Report;
  const ids = rows.map(({ id }) => id);
  t.same(
    Object.keys(REFERENCE).filter((id) => !ids.includes(id)),
    [],
    'every row of the reference machine is among them',
  );
  for (const { id, measurements, calls = {}, failures } of rows) {
    t.same(failures, {}, id);
    const names = measurements.filter(({ median }) => median > 0).map(({ subject }) => subject);
    t.ok(names.includes('nfs-fuse') && names.includes('local'), `${id}: ${names}`);
    if (id !== 'stat-warm') t.ok(Object.keys(calls).length > 0, `${id} sends something`);
  }
});
