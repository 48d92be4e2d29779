/** Compares the answers of two clients of a network file system with those of a local one. */
import type { Bed } from './runner.js';
import { runCase } from './runner.js';
import type { Case } from './steps.js';

/** An answer that is another one on the network file system, and should be. */
export interface Difference {
  /** Which cases. */
  readonly of: RegExp;
  /** Which steps: the text of a step. Every such step whose local answer is `local` is meant. */
  readonly step: RegExp;
  readonly local: RegExp;
  /** The answer there; `$1` is what is in brackets in `local`. */
  readonly there: string;
  readonly reason: string;
}

export interface Verdict {
  /** The cases with answers that were not expected: all steps, those that differ marked by "!". */
  readonly wrong: readonly string[];
  /** The differences that were met. */
  readonly met: ReadonlySet<Difference>;
}

function expectedAnswers(
  { name, steps }: Case,
  local: readonly string[],
  differences: readonly Difference[],
  met: Set<Difference>,
): string[] {
  return local.map((answer, index) => {
    const step = steps[index] ?? '';
    const difference = differences.find(
      (one) => one.of.test(name) && one.step.test(step) && one.local.test(answer),
    );
    if (!difference) return answer;
    met.add(difference);
    return answer.replace(difference.local, difference.there);
  });
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
  let wrongCases = 0;
  for (const [index, one] of cases.entries()) {
    const file = `case-${index}`;
    const local = await runCase(reference, one, file);
    if (local.length !== one.steps.length)
      throw new Error(`on the local file system, ${one.name}: ${local.at(-1)}`);
    const expected = expectedAnswers(one, local, differences, met);
    const answers = await runCase(bed, one, file, expected);
    const story = one.steps.map((step, at) => {
      const same = answers[at] === expected[at];
      return same ? `  ${step} -> ${answers[at]}` : `! ${step} -> ${answers[at]}, not ${expected[at]}`;
    });
    if (!story.some((line) => line.startsWith('!'))) continue;
    wrong.push([one.name, ...story].join('\n'));
    wrongCases += 1;
    if (wrongCases === limit) break;
  }
  return { wrong, met };
}
