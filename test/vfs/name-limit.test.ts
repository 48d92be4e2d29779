import t from 'tap';
import { checkNameLength } from '../../lib/vfs/names/name-limit.js';
import { Rig } from './support/rig.js';

t.test(
  "the limit of the export's root does not hold in a file system that is mounted below it",
  async (t) => {
    const rig = new Rig({ limits: { nameMax: 64 } });
    rig.server.tree.directory('same');
    rig.server.tree.directory('other').fsid = 99n;
    const same = await rig.walk('same');
    const other = await rig.walk('other');
    checkNameLength(rig.vfs, same, Buffer.alloc(64, 'n'));
    t.throws(() => checkNameLength(rig.vfs, same, Buffer.alloc(65, 'n')), /65 bytes/);
    t.throws(() => checkNameLength(rig.vfs, rig.root, Buffer.alloc(65, 'n')), /65 bytes/);
    checkNameLength(rig.vfs, other, Buffer.alloc(255, 'n'));
    t.throws(() => checkNameLength(rig.vfs, other, Buffer.alloc(256, 'n')), /256 bytes/);
  },
);
