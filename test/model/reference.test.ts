/** The reference and the workload are right: a plain folder of the machine's own file system agrees with them. */
import t from 'tap';
import { publicFolder } from '../support/folders.js';
import { LocalFolder } from '../support/local-folder.js';
import { openPlace } from '../support/places.js';
import { untilEnd } from '../support/until-end.js';
import { seeds } from './seeds.js';
import { Workload } from './workload.js';

t.test('the workload has the same results on a local folder as in the reference', async (t) => {
  const place = untilEnd(t, await openPlace('root'));
  for (const seed of seeds(3)) {
    const scratch = untilEnd(t, publicFolder());
    const folder = untilEnd(t, new LocalFolder(scratch.path, place));
    const workload = new Workload(folder, { seed, operations: 400 });
    await workload.run().catch((error: unknown) => {
      t.comment(workload.histories);
      throw error;
    });
    await folder.closeAgents();
    workload.compareOnDisk(scratch.path);
    t.pass(`seed ${seed}`);
  }
});
