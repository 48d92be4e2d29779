/** The command line as a whole: the commands, and the messages about their failures. */
import type { Argv } from 'yargs';
import yargs from 'yargs';
import { standardError } from '../base/log.js';
import { nearestName } from '../base/nearest-name.js';
import { packageInfo } from '../base/package-info.js';
import { anyWorkingDirectory } from '../base/surroundings.js';
import { UserError } from '../base/user-error.js';
import { kindOfFailure } from '../mount/failure/failure-kind.js';
import { looksLikeTarget } from '../mount/options/mount-target.js';
import { isBackgroundChild, reportToParent } from '../mount/process/background.js';
import { keepDescriptorsToOurselves } from '../mount/process/inherited-descriptors.js';
import { findStarter, tellStarter } from '../mount/process/starter.js';
import { listed, type Output } from './command.js';
import { checkCommand } from './commands/check-command.js';
import { csiCommand } from './commands/csi-command.js';
import { csiMounterCommand } from './commands/csi-mounter-command.js';
import { demoCommand } from './commands/demo-command.js';
import { execCommand } from './commands/exec-command.js';
import { exportsCommand } from './commands/exports-command.js';
import { locksCommand } from './commands/locks-command.js';
import { mountCommand } from './commands/mount-command.js';
import { quotaCommand } from './commands/quota-command.js';
import { restartCommand } from './commands/restart-command.js';
import { serveCommand } from './commands/serve-command.js';
import { statsCommand } from './commands/stats-command.js';
import { sweepCommand } from './commands/sweep-command.js';
import { umountCommand } from './commands/umount-command.js';
import { volumePluginCommand } from './commands/volume-plugin-command.js';
import { fail } from './failure-text.js';
import { refuseWhatIsNotUtf8 } from './utf8-arguments.js';

/** In the order in which --help shows them. */
const COMMANDS = [
  listed(mountCommand),
  listed(umountCommand),
  listed(checkCommand),
  listed(execCommand),
  listed(restartCommand),
  listed(exportsCommand),
  listed(statsCommand),
  listed(locksCommand),
  listed(quotaCommand),
  listed(sweepCommand),
  listed(volumePluginCommand),
  listed(csiCommand),
  listed(csiMounterCommand),
  listed(serveCommand),
  listed(demoCommand),
];
const COMPLETION = 'completion';
const NAMES = [...COMMANDS.map(({ name }) => name), COMPLETION];

/** The streams of this process. */
const OUTPUT: Output = {
  print: (text) => void process.stdout.write(text),
  onClosed: (listener) => void process.stdout.once('error', listener),
  tell: standardError,
};

/**
 * Runs one command line and resolves with the exit status. Prints failures, and never throws them. If yargs itself answers
 * (--help, --version, completion), yargs ends the process.
 */
export async function main(args: readonly string[]): Promise<number> {
  let exitStatus = 0;
  try {
    keepDescriptorsToOurselves();
    findStarter();
    refuseWhatIsNotUtf8(args);
    const parser = commandLine(separateOptionValue(args), (status) => {
      exitStatus = status;
    });
    if (args.length === 0) {
      process.stdout.write(`${await parser.getHelp()}\n`);
      return 1;
    }
    await parser.parseAsync();
    return exitStatus;
  } catch (error) {
    // The command that has started this process prints what has happened.
    if (isBackgroundChild()) await reportToParent(() => {}).failed(error, kindOfFailure(error));
    tellStarter({ failed: kindOfFailure(error) });
    return fail(error);
  }
}

function commandLine(args: readonly string[], exit: (status: number) => void): Argv {
  const parser = yargs([...args], anyWorkingDirectory())
    .scriptName('nfs-fuse')
    .usage(
      'Mounts NFSv3 exports through FUSE, in user space.\n\n' +
        'Usage: $0 mount [-f] [-o options] server:/export MOUNTPOINT\n' +
        '       $0 COMMAND --help',
    )
    .locale('en')
    .parserConfiguration({
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'dot-notation': false,
      'boolean-negation': false,
    });
  return (
    COMMANDS.reduce((withOthers, command) => command.addTo(withOthers, OUTPUT, exit), parser)
      .completion(COMPLETION, 'Print a script for bash or zsh that completes commands and options')
      .strict()
      .recommendCommands()
      .help()
      .alias('help', 'h')
      .version(packageInfo().version)
      .wrap(Math.min(100, process.stdout.columns ?? 80))
      .epilogue('nfs-fuse server:/export MOUNTPOINT -o options is understood too, as mount(8) calls it.')
      // yargs calls this for faults that it finds (with a message, for some also with an error of its own), and for errors
      // that a command throws.
      .fail((message: string | null, error: Error | undefined) => {
        if (error !== undefined && error.name !== 'YError') throw error;
        throw usageError(message ?? error?.message ?? '', args);
      })
  );
}

/** Splits `-oro,port=1` into `-o ro,port=1`, as mount(8) and libfuse do. yargs would read many flags. */
function separateOptionValue(args: readonly string[]): string[] {
  const end = args.indexOf('--');
  return args.flatMap((argument, index) => {
    if (end >= 0 && index > end) return [argument];
    return /^-o[^=]/.test(argument) ? ['-o', argument.slice(2)] : [argument];
  });
}

function usageError(message: string, args: readonly string[]): UserError {
  const [first] = args;
  if (first !== undefined && !first.startsWith('-') && !NAMES.includes(first) && !looksLikeTarget(first)) {
    const nearest = nearestName(first, NAMES);
    return new UserError(`There is no command "${first}".`, {
      remedy: nearest === undefined ? `The commands are ${NAMES.join(', ')}.` : `Did you mean "${nearest}"?`,
    });
  }
  const command = first !== undefined && NAMES.includes(first) ? `nfs-fuse ${first}` : 'nfs-fuse';
  return new UserError(inOurWords(message), {
    remedy: `${command} --help says what is expected.`,
  });
}

/** A message of yargs as one sentence of ours. */
function inOurWords(message: string): string {
  const [said = ''] = message.split('\n');
  const [, got, needed] = /got (\d+), need at least (\d+)/.exec(said) ?? [];
  if (needed !== undefined) return `Something is missing: ${got} of the ${needed} arguments are there.`;
  const [, option] = /^Not enough arguments following: (.+)$/.exec(said) ?? [];
  if (option !== undefined) return `${option.length === 1 ? '-' : '--'}${option} needs a value.`;
  return said.replace(/[.]?$/, '.');
}
