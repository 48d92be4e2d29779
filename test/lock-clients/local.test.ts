/**
 * The range matrix on local folders: its answers are the same each time, so that they can be compared, and two clients that do
 * not exclude each other are found out.
 */
import t from 'tap';
import { twoMounts } from '../support/two-mounts.js';
import { bedIn, localBed } from './support/beds.js';
import { ALL_CASES, casesOfTier } from './support/cases.js';
import { compare } from './support/judge.js';
import { runCase } from './support/runner.js';

t.test('each case has a name of its own', async (t) => {
  const names = ALL_CASES.map(({ name }) => name);
  t.same(
    names.filter((name, at) => names.indexOf(name) !== at),
    [],
  );
  t.ok(ALL_CASES.length > 1000, `${ALL_CASES.length} cases`);
});

t.test('a local folder answers the same each time', { timeout: 120_000 }, async (t) => {
  const { wrong } = await compare(localBed(t), localBed(t), casesOfTier(false));
  t.same(wrong, []);
});

t.test('the words of a case', async (t) => {
  const steps = [
    'a1 set x 2^62:10',
    'a1 set s 2^62+4:2',
    'a2 get x 0:',
    'b1 get x 2^62+4:1',
    'b1 wait s 2^62:',
    'b2 picture 2^62-1 2^62 2^62+4',
    'b1 interrupt',
    'a1 kill',
    'b1 soon set x 0:',
  ];
  t.same(await runCase(localBed(t), { name: 'words', steps }, 'words'), [
    'granted',
    'granted',
    'x 2^62:4 by a1',
    's 2^62+4:2 by another client',
    'waits',
    '2^62-1x 2^62- 2^62+4s',
    'EINTR',
    'ok',
    'granted',
  ]);
});

t.test('two clients that do not exclude each other are found out', { timeout: 120_000 }, async (t) => {
  const { a, b } = await twoMounts(t, 'embedded', ['nolock']);
  const apart = bedIn(t, a.mount.path, b.mount.path);
  // One that waits for something would wait for ever.
  const cases = ALL_CASES.filter(({ steps }) =>
    steps.every((step) => !/ (?:soon|done|interrupt)\b/.test(step)),
  );
  const { wrong } = await compare(localBed(t), apart, cases, [], cases.length);
  t.ok(wrong.length > cases.length / 2, `${wrong.length} of ${cases.length} cases`);
});
