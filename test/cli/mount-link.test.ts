/** The link between a mount's process and other commands: whose name it is, and who hears the end. */
import t from 'tap';
import { askStats, MountLink, watchMount } from '../../lib/cli/mount-link.js';

/** No mount has this major number. */
const MAJOR = 100_000 + process.pid;

t.test(
  "the name is the next mount's as soon as the mount is gone; who waits still hears the end",
  async (t) => {
    const first = await MountLink.open(MAJOR, 1, () => ({ mount: 'first' }));
    const watch = await watchMount(MAJOR, 1);
    t.same(await askStats(MAJOR, 1), { mount: 'first' });
    first.releaseName();
    const second = await MountLink.open(MAJOR, 1, () => ({ mount: 'second' }));
    t.same(await askStats(MAJOR, 1), { mount: 'second' });
    await first.close({ status: 1, message: 'lost' });
    t.match(await watch?.ended, { status: 1, message: 'lost' });
    await second.close({ status: 0 });
    t.equal(await askStats(MAJOR, 1), undefined);
  },
);

t.test('who connects in the moment in which the mount goes is heard', async (t) => {
  const link = await MountLink.open(MAJOR, 2, () => ({}));
  const watching = watchMount(MAJOR, 2);
  link.releaseName();
  const watch = await watching;
  await link.close({ status: 0 });
  t.match(await watch?.ended, { status: 0 });
});
