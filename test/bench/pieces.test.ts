/** A measurement in pieces: what is kept, and when it may go on. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { RowResult } from '../../bench/model.js';
import { UsageError } from '../../bench/options.js';
import { Pieces } from '../../bench/pieces.js';

const result = (id: string) => ({ id, title: id, measurements: [], failures: {} }) as unknown as RowResult;

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'nfs-fuse-test-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

t.test('a measurement that was broken off goes on with the rows that it has', async (t) => {
  const out = folder();
  const terms = { build: 'a', runs: 3, rttMs: [0, 1], before: undefined };
  const first = new Pieces(out, false, terms, 0.5);
  t.equal(first.row('write'), undefined);
  first.add(result('write'));
  const second = new Pieces(out, true, terms, 0.2);
  t.match(second.row('write'), { id: 'write' });
  t.equal(second.row('untar'), undefined);
  second.add(result('untar'));
  t.match(new Pieces(out, true, terms, 0).row('untar'), { id: 'untar' });
  t.match(second.end(), { pieces: 2, load: 0.5 });
  t.notOk(existsSync(join(out, 'benchmark.partial.json')), 'nothing is left when all is measured');
});

t.test('rows of another build, machine or with other options do not come together', async (t) => {
  const out = folder();
  new Pieces(out, false, { build: 'a', runs: 3 }, 0).add(result('write'));
  const goOn = (terms: Record<string, unknown>) => () => new Pieces(out, true, terms, 0);
  t.throws(
    goOn({ build: 'b', runs: 3 }),
    new UsageError(`--continue: ${out}/benchmark.partial.json was measured with another build; measure anew`),
  );
  t.throws(goOn({ build: 'a', runs: 2 }), /another runs/);
  t.throws(() => new Pieces(folder(), true, {}, 0), /there is no .*benchmark.partial.json/);
  t.notOk('pieces' in new Pieces(undefined, false, {}, 0).end(), 'one piece is the whole');
});
