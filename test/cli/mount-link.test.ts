/** The link between a mount's process and other commands: whose name it is, and who hears the end. */
import t from 'tap';
import { askStats, askWriteBack, MountLink, watchMount } from '../../lib/cli/mount-link.js';

/** No mount has this major number. */
const MAJOR = 100_000 + process.pid;

const answers = (mount: string, giveUp: () => void = () => {}) => ({
  stats: () => ({ mount }),
  writeBack: () => Promise.resolve([`${mount} lost something`]),
  giveUp,
});

t.test(
  "the name is the next mount's as soon as the mount is gone; who waits still hears the end",
  async (t) => {
    const first = await MountLink.open(MAJOR, 1, answers('first'));
    const watch = await watchMount(MAJOR, 1);
    t.same(await askStats(MAJOR, 1), { mount: 'first' });
    first.releaseName();
    const second = await MountLink.open(MAJOR, 1, answers('second'));
    t.same(await askStats(MAJOR, 1), { mount: 'second' });
    await first.close({ status: 1, message: 'lost' });
    t.match(await watch?.ended, { status: 1, message: 'lost' });
    await second.close({ status: 0 });
    t.equal(await askStats(MAJOR, 1), undefined);
  },
);

t.test('who connects in the moment in which the mount goes is heard', async (t) => {
  const link = await MountLink.open(MAJOR, 2, answers('only'));
  const watching = watchMount(MAJOR, 2);
  link.releaseName();
  const watch = await watching;
  await link.close({ status: 0 });
  t.match(await watch?.ended, { status: 0 });
});

t.test('who has data written back is told what was lost, and so is who waits for the end', async (t) => {
  let ordered = (): void => {};
  const order = new Promise<void>((resolve) => {
    ordered = resolve;
  });
  const link = await MountLink.open(MAJOR, 3, answers('mount', ordered));
  t.same(await askWriteBack(MAJOR, 3), ['mount lost something']);
  const watch = await watchMount(MAJOR, 3);
  watch?.orderToGiveUp();
  await order;
  const lost = { bytes: 1, files: 1, largest: [{ path: '/file', bytes: 1 }] };
  await link.close({ status: 1, lost });
  t.match(await watch?.ended, { status: 1, lost });
  t.equal(await askWriteBack(MAJOR, 3), undefined, 'nobody is there');
});
