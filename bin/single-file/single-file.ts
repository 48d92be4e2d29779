/** The program as one file with Node inside: itself, and the small programs that otherwise are scripts beside it. */
import { HELPER } from '../../lib/base/own-program.js';
import { start } from '../../lib/cli/start/entry.js';

async function help(name: string, argument: string): Promise<void> {
  const { attemptTrial, runProbe, TRIAL } = await import('../../lib/fuse/helpers.js');
  if (name === TRIAL) process.stdout.write(JSON.stringify(await attemptTrial()));
  else if (!runProbe(name, argument)) process.exitCode = 1;
}

const args = process.argv.slice(2);
const [first, name = '', argument = ''] = args;
// Neither rejects.
void (first === HELPER ? help(name, argument) : start(args));
