import t from 'tap';
import { checkNameLength } from '../../../lib/vfs/names/name-limit.js';
import { named } from '../support/named.js';
import { Rig } from '../support/rig.js';

t.test(
  "the limit of the export's root does not hold in a file system that is mounted below it",
  async (t) => {
    const rig = new Rig({ limits: { nameMax: 64 } });
    rig.server.tree.directory('same');
    rig.server.tree.directory('other').fsid = 99n;
    const same = await rig.walk('same');
    const other = await rig.walk('other');
    checkNameLength(rig.vfs, same, named('n'.repeat(64)));
    t.throws(() => checkNameLength(rig.vfs, same, named('n'.repeat(65))), /65 bytes/);
    t.throws(() => checkNameLength(rig.vfs, rig.root, named('n'.repeat(65))), /65 bytes/);
    checkNameLength(rig.vfs, other, named('n'.repeat(255)));
    t.throws(() => checkNameLength(rig.vfs, other, named('n'.repeat(256))), /256 bytes/);
  },
);
