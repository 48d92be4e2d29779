import { join } from 'node:path';
import t from 'tap';
import { run } from '../support/process.js';
import { projectRoot } from '../support/project.js';

const ENGINE = JSON.stringify(join(projectRoot, 'dist/lib/mount/process/engine.js'));

async function prepared(argument: string) {
  const script = `import { prepareEngine } from ${ENGINE}; prepareEngine(${argument}); console.log('served');`;
  const { status, stdout, stderr } = await run([process.execPath, '--input-type=module', '-e', script]);
  return { status, stdout: stdout.toString(), stderr: stderr.toString() };
}

t.test('this engine accepts every flag that it gets', async (t) => {
  t.same(await prepared(''), { status: 0, stdout: 'served\n', stderr: '' });
});

t.test('an unknown engine gets no flags', async (t) => {
  t.same(await prepared("'999.1.2'"), { status: 0, stdout: 'served\n', stderr: '' });
});

t.test('collecting garbage returns memory to the machine', async (t) => {
  const script = `
    import { collectGarbage } from ${ENGINE};
    const resident = () => process.memoryUsage.rss();
    let tree = new Map();
    for (let i = 0; i < 1_000_000; i++) tree.set(i, { name: 'file' + i, size: BigInt(i) });
    const full = resident();
    tree = undefined;
    collectGarbage();
    const look = () => (resident() < full * 0.75 ? console.log('given back') : setTimeout(look, 20));
    look();
  `;
  const { status, stdout, stderr } = await run([process.execPath, '--input-type=module', '-e', script], {
    timeoutMs: 60_000,
  });
  t.same(
    { status, stdout: stdout.toString(), stderr: stderr.toString() },
    { status: 0, stdout: 'given back\n', stderr: '' },
  );
});
