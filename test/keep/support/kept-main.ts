/**
 * A process with a keeper and without a mount. Its descriptors of the kernel and of the state are files, and the next
 * process is a shell script.
 *   usage: kept-main.ts FOLDER DEATHS
 * The folder has the files fuse, state, next.sh and log, and gets the file journal. Prints "kept" when the keeper is there,
 * and does what the lines of its standard input say: release, leave, dismiss. `leave` starts a process that goes on with the mount;
 * the file other gets its number.
 */
import { spawn } from 'node:child_process';
import { openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Keeper } from '../../../lib/mount/keep/keeper.js';

const [folder = '', deaths = ''] = process.argv.slice(2);
const at = (name: string): string => join(folder, name);

const fuse = openSync(at('fuse'), 'r+');

const keeper = await Keeper.start(
  folder,
  {
    fuse: () => fuse,
    state: openSync(at('state'), 'r+'),
    mounted: undefined,
    isInherited: true,
    command: ['sh', at('next.sh'), folder, `a'b $c "d"`],
    role: 'foreground',
    deaths,
    journal: { folder: openSync(folder, 'r'), name: 'journal' },
    logFile: { descriptor: openSync(at('log'), 'a'), onReopen: () => {} },
    errors: 2,
  },
  (line) => process.stderr.write(`${line}\n`),
);
process.stdout.write('kept\n');

function leave(): void {
  const stdio = ['ignore', 'ignore', 'ignore', keeper.lend() ?? 'ignore'] as const;
  const other = spawn('sleep', ['600'], { stdio: [...stdio], detached: true });
  keeper.leaveTo(other.pid ?? 0);
  writeFileSync(at('other'), String(other.pid));
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'release') keeper.release();
  else if (line === 'leave') leave();
  else await keeper.dismiss();
  process.stdout.write(`${line}\n`);
}
