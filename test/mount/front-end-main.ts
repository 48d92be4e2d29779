/**
 * A front end for tests, on lib/mount alone. Standard input has one order per line: "mount PLACE", "statistics PLACE",
 * "unmount PLACE". Ends by itself when the input ends and nothing is mounted.
 *   usage: front-end-main.ts server:/export OPTIONS
 */
import { createInterface } from 'node:readline';
import { parseMountRequest, type RunningMount, startMount } from '../../lib/mount/index.js';

const [target = '', options = ''] = process.argv.slice(2);
const say = (line: string) => process.stdout.write(`${line}\n`);
const log = {
  info: (message: string) => say(`info ${message}`),
  warn: (message: string) => say(`warning ${message}`),
  error: (message: string) => say(`error ${message}`),
};
const mounts = new Map<string, RunningMount>();

async function mount(place: string): Promise<void> {
  const running = await startMount(parseMountRequest(target, [options]), place, { log });
  mounts.set(place, running);
  say(`ready ${running.mountpoint}`);
  void running.ended.then(({ status, message }) => say(`ended ${place} ${status} ${message ?? ''}`.trim()));
}

for await (const line of createInterface({ input: process.stdin })) {
  const [order, place = ''] = line.split(' ');
  if (order === 'mount') await mount(place);
  else if (order === 'statistics') say(`statistics ${JSON.stringify(mounts.get(place)?.statistics())}`);
  else if (order === 'unmount') await mounts.get(place)?.unmount();
  else say(`unknown order ${line}`);
}
