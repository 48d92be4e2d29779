import t from 'tap';
import { checkNameLength } from '../../lib/vfs/names/name-limit.js';
import { Bench } from './support/bench.js';

t.test(
  "the limit of the export's root does not hold in a file system that is mounted below it",
  async (t) => {
    const bench = new Bench({ limits: { nameMax: 64 } });
    bench.server.tree.directory('same');
    bench.server.tree.directory('other').fsid = 99n;
    const same = await bench.walk('same');
    const other = await bench.walk('other');
    checkNameLength(bench.vfs, same, Buffer.alloc(64, 'n'));
    t.throws(() => checkNameLength(bench.vfs, same, Buffer.alloc(65, 'n')), /65 bytes/);
    t.throws(() => checkNameLength(bench.vfs, bench.root, Buffer.alloc(65, 'n')), /65 bytes/);
    checkNameLength(bench.vfs, other, Buffer.alloc(255, 'n'));
    t.throws(() => checkNameLength(bench.vfs, other, Buffer.alloc(256, 'n')), /256 bytes/);
  },
);
