/** One step of `nfs-fuse check`, its result, and the running of steps one after another. */
import { UserError } from '../base/user-error.js';

/** `skipped`: an earlier step that this one needs has failed. */
export type StepResult = 'ok' | 'warning' | 'failure' | 'skipped';

/** The result of a step. `remedy`: what to do about a warning or a failure. */
export interface Verdict {
  readonly result: Exclude<StepResult, 'skipped'>;
  readonly message: string;
  readonly remedy?: string | undefined;
}

/** A verdict with the step's name, as `--json` prints it. */
export interface Finding {
  readonly step: string;
  readonly result: StepResult;
  readonly message: string;
  readonly remedy?: string | undefined;
}

export interface Step {
  readonly name: string;
  /** Names of earlier steps. If one of them fails, this step is skipped. */
  readonly needs?: readonly string[];
  examine(): Verdict | Promise<Verdict>;
}

export function ok(message: string): Verdict {
  return { result: 'ok', message };
}

export function warning(message: string, remedy: string | undefined): Verdict {
  return { result: 'warning', message, remedy };
}

export function failure(message: string, remedy: string | undefined): Verdict {
  return { result: 'failure', message, remedy };
}

/** A UserError as a failed step; throws other errors again. */
export function failureOf(error: unknown): Verdict {
  if (error instanceof UserError) return failure(error.message, error.remedy);
  throw error;
}

/**
 * Runs the steps one by one, each for at most `limitMs`, and yields each finding as soon as it is there. If a step throws,
 * the step has failed.
 */
export async function* examineAll(steps: readonly Step[], limitMs: number): AsyncGenerator<Finding> {
  const failed = new Set<string>();
  for (const step of steps) {
    const { name } = step;
    const cause = step.needs?.find((needed) => failed.has(needed));
    if (cause !== undefined) {
      failed.add(name);
      yield { step: name, result: 'skipped', message: `not looked at without "${cause}"` };
      continue;
    }
    const verdict = await within(limitMs, step);
    if (verdict.result === 'failure') failed.add(name);
    yield { step: name, ...verdict };
  }
}

async function within(limitMs: number, step: Step): Promise<Verdict> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<Verdict>((resolve) => {
    const seconds = limitMs / 1000;
    timer = setTimeout(
      () => resolve(failure(`No result within ${seconds} s.`, 'Repeat with a longer --timeout.')),
      limitMs,
    );
  });
  const examined = (async () => step.examine())().catch((error: unknown) =>
    error instanceof UserError
      ? failureOf(error)
      : failure(`Unexpected error: ${error instanceof Error ? error.message : String(error)}`, undefined),
  );
  try {
    return await Promise.race([examined, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}
