/** The cost of processes, as /proc says it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import t from 'tap';
import { contextSwitches, cpuSeconds, forgetPeaks, peakKiB } from '../../bench/cost.js';
import { until } from '../support/process.js';

t.test('CPU time and context switches grow with what a process does', async (t) => {
  const self = [process.pid];
  const [cpu = 0, switches = 0] = [cpuSeconds(self), contextSwitches(self)];
  await until('this process has worked', () => {
    for (let i = 0; i < 1e6; i++) Math.sqrt(i);
    return (cpuSeconds(self) ?? 0) > cpu + 0.02;
  });
  await until('this process has slept', () => (contextSwitches(self) ?? 0) > switches);
  t.pass('both have grown');
});

t.test('a peak that is forgotten no longer counts, where the kernel can forget it', async (t) => {
  if (!existsSync('/proc/self/clear_refs')) {
    t.doesNotThrow(() => forgetPeaks([process.pid]));
    return;
  }
  const script =
    'let b = Buffer.alloc(300 << 20, 1); console.log(b.length); b = undefined; gc(); setInterval(() => gc(), 50)';
  const child = spawn(process.execPath, ['--expose-gc', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  t.teardown(async () => {
    child.kill('SIGKILL');
    await once(child, 'close');
  });
  await once(child.stdout, 'data');
  const pids = [child.pid ?? 0];
  t.ok((peakKiB(pids) ?? 0) > 300 * 1024);
  await until(
    'the memory has been given back',
    () => {
      forgetPeaks(pids);
      return (peakKiB(pids) ?? 0) < 300 * 1024;
    },
    60_000,
  );
});

t.test('without processes there is nothing to tell; what has ended costs nothing', async (t) => {
  t.equal(cpuSeconds([]), undefined);
  t.equal(contextSwitches([]), undefined);
  t.equal(peakKiB([]), undefined);
  const child = spawn('true');
  await once(child, 'close');
  t.equal(cpuSeconds([child.pid ?? 0]), 0);
  t.equal(peakKiB([child.pid ?? 0]), 0);
});
