/** The consistency matrix as a test: two mounts of one export must show nothing older than Linux's own client shows. */
import type { Test } from 'tap';
import { exportFolder } from '../../support/folders.js';
import { KNFSD_EXPORT, Knfsd } from '../../support/guest/knfsd.js';
import { Mount } from '../../support/mount.js';
import { openPlace } from '../../support/places.js';
import { atTier } from '../../support/tier.js';
import { untilEnd } from '../../support/until-end.js';
import { startServer } from '../../support/variants.js';
import { familyTable } from './families.js';
import { type RecordedServer, recordFor } from './linux-record.js';
import {
  type Folders,
  type Outcomes,
  PASS_OPTIONS,
  PASSES,
  type Pass,
  programHash,
  runProgram,
} from './program.js';
import { judge } from './verdict.js';

/** Every so many-th of the program's 41 667 combinations: 5 123 of them, or a sixth of those. */
export const ALL = atTier({ ci: 48, all: 8 });
/** A plain `npm test` has time for one combination in this many. */
export const SAMPLE = 192;
const TIMEOUT_MS = 30 * 60_000;
/** Lines of a failure that are shown. */
const MAX_LINES = 400;

/** The outcomes in one local directory, which has no caches to be stale. */
async function localOutcomes(every: number): Promise<Outcomes> {
  const { path, remove } = exportFolder();
  try {
    return await runProgram('at-once', every, { a: path, b: path, look: path });
  } finally {
    await remove();
  }
}

/** It does not wait for its disk, which no combination is about: that takes nearly half of its work away. */
function startKnfsd(): Promise<Knfsd> {
  const exportOptions = KNFSD_EXPORT.map((option) => (option === 'sync' ? 'async' : option));
  return Knfsd.start({ exportOptions });
}

/**
 * Runs every `every`th combination on `server`, in each of the passes: at once after the change, and again after the
 * attributes' timeout. `more`: further options of both mounts.
 */
export function matrixOn(
  t: Test,
  server: RecordedServer,
  every: number,
  passes: readonly Pass[] = PASSES,
  more: readonly string[] = [],
): void {
  const what = [`nothing older than Linux's own client shows, ${server}`, ...more].join(' ');
  t.test(what, { timeout: TIMEOUT_MS }, async (t) => {
    const record = recordFor(server);
    t.equal(
      record.hash,
      programHash(),
      'the record is of this program: node test/consistency/matrix/record.mjs',
    );
    t.equal(every % record.every, 0, 'the record knows these combinations');
    const place = untilEnd(t, await openPlace('root'));
    const source = untilEnd(t, await (server === 'knfsd' ? startKnfsd() : startServer(server, place)));
    const truth = await localOutcomes(every);
    const outcomes = async (pass: Pass): Promise<Outcomes> => {
      const options = ['allow_other', ...PASS_OPTIONS[pass], ...more];
      const mounts = [
        await Mount.start({ source, place, options, asUsual: true }),
        await Mount.start({ source, place, options, asUsual: true }),
      ] as const;
      const [a, b] = mounts;
      try {
        const folders: Folders = { a: a.path, b: b.path, look: source.directory };
        return await runProgram(pass, every, folders);
      } finally {
        for (const mount of mounts) await mount.close();
      }
    };
    for (const pass of passes) {
      const ours = await outcomes(pass);
      const verdict = judge(truth, ours, record.passes[pass]);
      t.comment(
        `${server}, ${pass}: ${verdict.combinations} combinations; differ from a local directory: ` +
          `${verdict.different} here, ${verdict.linuxDifferent} with Linux's client, of which ${verdict.better} are right here`,
      );
      for (const line of familyTable(truth, ours, record.passes[pass])) t.comment(line);
      t.equal(verdict.staler.length, 0, `${pass}: no combination in which only Linux's client is right`);
      t.same(verdict.staler.slice(0, MAX_LINES), [], `${pass}: these combinations`);
    }
  });
}
