/** A process dies while a thread of it waits in the kernel for a request that it was to answer itself. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { start, until } from '../support/process.js';
import { servedFolder } from '../support/served-folder.js';
import { untilEnd } from '../support/until-end.js';
import { servingProcess } from './support/serving.js';

const KIB = 1024;

/** Whether a thread of the process is in a wait that no signal ends. */
function hasStuckThread(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).some((task) =>
    /^State:\s+D/m.test(readFileSync(`/proc/${pid}/task/${task}/status`, 'latin1')),
  );
}

t.test('the next process answers it, and the thread of the dead one gets free', async (t) => {
  const { server, served, options } = await servedFolder(t);
  const place = untilEnd(t, await openPlace('root'));
  const source = { host: '127.0.0.1', exportPath: '/export', mountOptions: options.split(',') };
  const mount = untilEnd(t, await Mount.start({ source, place, options: ['readahead=0'] }));
  await mount.served();
  writeFileSync(join(served, 'file'), Buffer.alloc(64 * KIB, 'a'));
  let answer = (): void => {};
  const held = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const fault = server.faults.add({ procedure: 'READ', times: 1000, wait: held });
  const reader = untilEnd(t, start(['cat', join(mount.path, 'file')], { cwd: '/' }));
  await until('the server is asked for data', () => fault.hits > 0);
  const first = await servingProcess(mount);
  process.kill(first, 'SIGKILL');
  await until('another process serves', async () => ![0, first].includes(await servingProcess(mount)));
  const second = await servingProcess(mount);
  // It does not know how old the kernel's pages are, and has them dropped: also the one that the reader waits for.
  await until('a thread waits for the page', () => hasStuckThread(second));
  process.kill(second, 'SIGKILL');
  await until('the next one serves', async () => ![0, second].includes(await servingProcess(mount)));
  fault.remove();
  answer();
  const { status, stdout } = await reader.ended;
  t.equal(status, 0);
  t.ok(stdout.equals(Buffer.alloc(64 * KIB, 'a')), 'the program has its data');
  await mount.unmount();
});
