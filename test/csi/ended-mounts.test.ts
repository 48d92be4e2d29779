/** The things that a mounter remembers of mounts that are over. */
import t from 'tap';
import { EndedMounts } from '../../lib/csi/mounter/ended-mounts.js';

t.test('a failure waits for the one who asks about its place, and is told once', async (t) => {
  const ended = new EndedMounts();
  t.notOk(ended.isAwaited);
  ended.keep('/a', 'First.');
  ended.keep('/a', undefined);
  ended.keep('/a', 'Second.');
  ended.keep('/b', undefined);
  t.equal(ended.take('/c'), undefined);
  t.equal(ended.take('/b'), undefined);
  t.ok(ended.isAwaited);
  t.equal(ended.take('/a'), 'First. Second.');
  t.equal(ended.take('/a'), undefined);
  t.notOk(ended.isAwaited);
});

t.test('what nobody asks about takes no memory without end', async (t) => {
  const ended = new EndedMounts();
  for (let index = 0; index < 3_000; index++) ended.keep(`/${index}`, 'x'.repeat(20_000));
  t.equal(ended.take('/0'), undefined);
  t.ok(JSON.stringify(ended.take('/2999')?.replaceAll('x', '\0')).length < 60_000);
});
