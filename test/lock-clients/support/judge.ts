/** Compares the answers of two clients of a network file system with those of a local one. */
import type { Bed } from './runner.js';
import { runCase } from './runner.js';
import type { Case } from './steps.js';

/** An answer that is another one on the network file system than on a local one, and may be. */
export interface Difference {
  /** The name of a case, or of several. */
  readonly of: string | RegExp;
  /** Steps with this text. */
  readonly step: string | RegExp;
  /** Which answers of the local file system; all by default. */
  readonly local?: string | RegExp;
  /** The answer there, or whether one is right there. */
  readonly there: string | ((answer: string, local: string) => boolean);
  readonly reason: string;
}

export interface Verdict {
  /** The cases with answers that were not expected: all steps, those that differ marked by "!". */
  readonly wrong: readonly string[];
  /** The differences that were met. */
  readonly met: ReadonlySet<Difference>;
}

const isLike = (text: string, pattern: string | RegExp): boolean =>
  typeof pattern === 'string' ? text === pattern : pattern.test(text);

function differenceAt(
  differences: readonly Difference[],
  name: string,
  step: string,
  local: string,
): Difference | undefined {
  return differences.find(
    (one) => isLike(name, one.of) && isLike(step, one.step) && isLike(local, one.local ?? local),
  );
}

/** Runs cases on the reference and on a bed, each with new files, and compares. Stops after `limit` wrong cases. */
export async function compare(
  reference: Bed,
  bed: Bed,
  cases: readonly Case[],
  differences: readonly Difference[] = [],
  limit = 20,
): Promise<Verdict> {
  const wrong: string[] = [];
  const met = new Set<Difference>();
  for (const [index, one] of cases.entries()) {
    const file = `case-${index}`;
    const local = await runCase(reference, one, file);
    if (local.length !== one.steps.length)
      throw new Error(`on the local file system, ${one.name}: ${local.at(-1)}`);
    const expected = one.steps.map((step, at) => {
      const difference = differenceAt(differences, one.name, step, local[at] ?? '');
      if (difference) met.add(difference);
      return difference?.there ?? local[at] ?? '';
    });
    const answers = await runCase(bed, one, file, expected);
    const story = one.steps.map((step, at) =>
      judged(step, answers[at] ?? 'none', expected[at] ?? '', local[at] ?? ''),
    );
    if (!story.some((line) => line.startsWith('!'))) continue;
    wrong.push([one.name, ...story].join('\n'));
    if (wrong.length === limit) break;
  }
  return { wrong, met };
}

/** A line about a step and its answer. */
function judged(step: string, answer: string, expected: Difference['there'], local: string): string {
  const isRight = typeof expected === 'string' ? answer === expected : expected(answer, local);
  if (isRight) return `  ${step} -> ${answer}`;
  return `! ${step} -> ${answer}, not ${typeof expected === 'string' ? expected : `like ${local}`}`;
}
