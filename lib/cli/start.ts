/**
 * Loads the program and runs it; where it cannot even be loaded, says why, as `nfs-fuse check` would. Nothing but what
 * that needs is imported at once: without free descriptors no further file can be read.
 */
import { type Lack, lackBehind, tooFewDescriptors } from '../base/surroundings.js';

const LIMIT_MS = 10_000;

/** Resolves with the exit status. */
export async function start(args: readonly string[]): Promise<number> {
  let main: typeof import('./main.js').main;
  try {
    ({ main } = await import('./main.js'));
  } catch (error) {
    const lack = lackBehind(error) ?? tooFewDescriptors();
    return lack === undefined ? cannotLoad(args, error) : lacking(lack);
  }
  return main(args);
}

/** Told the command that has started this process to serve a mount, if one has: see background.ts. */
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
  const report = new Report({ json: checking && args.includes('--json'), nameWidth: 8 });
  for await (const finding of examineAll(steps, LIMIT_MS)) {
    if (checking) report.add(finding);
    else if (finding.result === 'failure')
      process.stderr.write(`nfs-fuse: ${finding.message}\n          ${finding.remedy}\n`);
  }
  if (checking) report.end();
  return 1;
}
