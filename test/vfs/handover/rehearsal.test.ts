/** The rehearsal of records at the start of a mount. */
import t from 'tap';
import { RecordMemory } from '../../../lib/records/index.js';
import { rehearseRecords } from '../../../lib/vfs/handover/inode-records.js';

t.test('the rehearsal of records leaves none, and the next process can read the state', async (t) => {
  const memory = RecordMemory.create();
  if (memory === undefined) throw new Error('this machine gives no memory');
  memory.setFacts({ mountpoint: '/mnt' });
  rehearseRecords(memory);
  t.equal(memory.count, 0);
  const after = RecordMemory.adopt(memory.fd);
  t.same([...after.records()], []);
  t.same(after.facts, { mountpoint: '/mnt' });
});
