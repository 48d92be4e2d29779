/**
 * Loads the program, runs it, and ends the process with its exit status. If the program cannot be loaded, reports why, as
 * `nfs-fuse check` would. Only what this report needs is imported at once: without free descriptors no further file can be
 * read.
 */
import { type Lack, lackBehind, tooFewDescriptors } from '../base/surroundings.js';

const LIMIT_MS = 10_000;
const print = (text: string): void => void process.stdout.write(text);

/** Runs the command line `args`. The only place that ends the process, apart from yargs itself (--help, completion). */
export async function start(args: readonly string[]): Promise<never> {
  process.exit(await run(args));
}

async function run(args: readonly string[]): Promise<number> {
  let main: typeof import('./main.js').main;
  try {
    ({ main } = await import('./main.js'));
  } catch (error) {
    const lack = lackBehind(error) ?? tooFewDescriptors();
    return lack === undefined ? cannotLoad(args, error) : lacking(lack);
  }
  return main(args);
}

/** Also reports to the command that has started this process to serve a mount, if one has (mount/process/background.ts). */
async function lacking({ message, remedy }: Lack): Promise<number> {
  process.stderr.write(`nfs-fuse: ${message}\n          ${remedy}\n`);
  if (process.send !== undefined)
    await new Promise((resolve) =>
      process.send?.({ type: 'failed', message, remedy, exitStatus: 1 }, undefined, undefined, resolve),
    );
  return 1;
}

async function cannotLoad(args: readonly string[], error: unknown): Promise<number> {
  const [{ programSteps }, { Report }, { examineAll }] = await Promise.all([
    import('../check/program.js'),
    import('../check/report.js'),
    import('../check/step.js'),
  ]);
  const checking = args[0] === 'check';
  const steps = programSteps(error);
  const report = new Report({ json: checking && args.includes('--json'), nameWidth: 8, print });
  for await (const finding of examineAll(steps, LIMIT_MS)) {
    if (checking) report.add(finding);
    else if (finding.result === 'failure')
      process.stderr.write(`nfs-fuse: ${finding.message}\n          ${finding.remedy}\n`);
  }
  if (checking) report.end();
  return 1;
}
