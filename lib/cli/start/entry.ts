/**
 * Loads the program, runs it, and ends the process with its exit status. If the program cannot be loaded, reports why, as
 * `nfs-fuse check` would. Only what this report needs is imported at once: without free descriptors no further file can be
 * read.
 */
import { anyWorkingDirectory, type Lack, lackBehind, tooFewDescriptors } from '../../base/surroundings.js';
import { useCodeCache } from '../../mount/process/code-cache.js';
import { isPlainMount } from './plain-mount.js';

const LIMIT_MS = 10_000;
const print = (text: string): void => void process.stdout.write(text);

/** Runs the command line `args`. The only place that ends the process, apart from yargs itself (--help, completion). */
export async function start(args: readonly string[]): Promise<never> {
  // If a reader goes away (a pager, a terminal), mounts and clean-ups must go on.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', nothing);
  process.exit(await run(args));
}

async function run(args: readonly string[]): Promise<number> {
  let main: (args: readonly string[]) => Promise<number>;
  try {
    if (isPlainMount(args)) main = (await import('./waiting-command.js')).mountInCopy;
    else {
      useCodeCache();
      main = await loadMain();
    }
  } catch (error) {
    const lack = lackBehind(error) ?? tooFewDescriptors();
    if (lack === undefined) return cannotLoad(args, error);
    await report(lack);
    return 1;
  }
  return main(args);
}

/** In the bundle, yargs asks for the working directory as it is loaded, and there may be none. */
async function loadMain(): Promise<(args: readonly string[]) => Promise<number>> {
  const { cwd } = process;
  const replacement = anyWorkingDirectory();
  process.cwd = () => replacement;
  // Node 20 rejects more promises than this one where a module of a bundle cannot be loaded, and would end the process.
  process.on('unhandledRejection', nothing);
  try {
    const { main } = await import('../main.js');
    process.off('unhandledRejection', nothing);
    return main;
  } finally {
    process.cwd = cwd;
  }
}

/** Also reports to the command that has started this process to serve a mount, if one has (mount/process/background.ts). */
async function report({ message, remedy }: Lack): Promise<void> {
  process.stderr.write(`nfs-fuse: ${message}\n          ${remedy}\n`);
  if (process.send !== undefined)
    await new Promise((resolve) =>
      process.send?.({ type: 'failed', message, remedy, exitStatus: 1 }, undefined, undefined, resolve),
    );
}

async function cannotLoad(args: readonly string[], error: unknown): Promise<number> {
  const [{ programSteps }, { Report }, { examineAll }] = await Promise.all([
    import('../../check/program.js'),
    import('../../check/report.js'),
    import('../../check/step.js'),
  ]);
  const checking = args[0] === 'check';
  const steps = programSteps(error);
  const findings = new Report({ json: checking && args.includes('--json'), nameWidth: 8, print });
  for await (const finding of examineAll(steps, LIMIT_MS)) {
    if (checking) findings.add(finding);
    else if (finding.result === 'failure')
      await report({ message: finding.message, remedy: finding.remedy ?? '' });
  }
  if (checking) findings.end();
  return 1;
}

function nothing(): void {}
