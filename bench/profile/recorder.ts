/** Has a running nfs-fuse record CPU profiles of some of its life: the other side of agent.mjs. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Place } from '../../test/support/places.js';
import { until } from '../../test/support/process.js';
import { projectRoot } from '../../test/support/project.js';
import { fileByFile } from '../../test/support/stage.js';
import { threadCpuSeconds } from '../cost.js';
import type { CpuProfile } from './analysis.js';

const START_MS = 30_000;
const STOP_MS = 120_000;

/** The place, with the product ready to be profiled; its profiles go to `folder`, of one process at a time. */
export function profiledPlace(place: Place, folder: string): Place {
  const agent = pathToFileURL(join(projectRoot, 'bench/profile/agent.mjs'));
  agent.searchParams.set('folder', folder);
  const [node = process.execPath, ...rest] = fileByFile(place.product);
  return { ...place, product: [node, `--import=${agent.href}`, ...rest] };
}

/**
 * Profiles process `pid` while `body` runs; its `number`th profile (from 1). `threadSeconds`: CPU time of its main thread,
 * where the kernel tells.
 */
export async function record<T>(
  pid: number,
  folder: string,
  number: number,
  body: () => Promise<T>,
): Promise<{ result: T; profile: CpuProfile; threadSeconds: number | undefined }> {
  process.kill(pid, 'SIGUSR2');
  await until('the profiler runs', () => existsSync(join(folder, `${number}.started`)), START_MS);
  let result: T;
  let threadSeconds: number | undefined;
  try {
    const before = threadCpuSeconds(pid);
    result = await body();
    const after = threadCpuSeconds(pid);
    if (before !== undefined && after !== undefined) threadSeconds = after - before;
  } finally {
    process.kill(pid, 'SIGUSR2');
  }
  const path = join(folder, `${number}.cpuprofile`);
  await until('the profile is written', () => existsSync(path), STOP_MS);
  return { result, profile: JSON.parse(readFileSync(path, 'utf8')) as CpuProfile, threadSeconds };
}
