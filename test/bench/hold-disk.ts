/** Makes the benchmark's disk, says where, and waits to be ended: for disk.test.ts. */
import { openDisk } from '../../bench/disk.js';

const [load = ''] = process.argv.slice(2);
const { path } = await openDisk({ bytes: 32 << 20, load, folder: false, note: () => undefined });
process.stdout.write(`${path}\n`);
setInterval(() => undefined, 1000);
