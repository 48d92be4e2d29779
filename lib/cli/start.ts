/** Loads the program and runs it; where it cannot even be loaded, says why, as `nfs-fuse check` would. */
import { programSteps } from './check/program.js';
import { Report } from './check/report.js';
import { examineAll } from './check/step.js';

const LIMIT_MS = 10_000;

/** Resolves with the exit status. */
export async function start(args: readonly string[]): Promise<number> {
  let main: typeof import('./main.js').main;
  try {
    ({ main } = await import('./main.js'));
  } catch (error) {
    return cannotLoad(args, error);
  }
  return main(args);
}

async function cannotLoad(args: readonly string[], error: unknown): Promise<number> {
  const checking = args[0] === 'check';
  const steps = programSteps(error);
  const report = new Report({ json: checking && args.includes('--json'), nameWidth: 8 });
  for await (const finding of examineAll(steps, LIMIT_MS)) {
    if (checking) report.add(finding);
    else if (finding.result === 'failure')
      process.stderr.write(`nfs-fuse: ${finding.message}\n          ${finding.remedy}\n`);
  }
  if (checking) report.end();
  return 1;
}
