/** The one shape of all commands: arguments in; text and an exit status out. */
import type { ArgumentsCamelCase, Argv, CommandModule } from 'yargs';
import type { LogSink } from '../base/log.js';

/** Where a command writes its text. */
export interface Output {
  /** Standard output, exactly as given. */
  print(text: string): void;
  /** Calls the listener when nobody reads standard output any more. That shows at an attempt to write. */
  onClosed(listener: () => void): void;
  /** A message for people on standard error, one line. */
  readonly tell: LogSink;
}

/** One command of `nfs-fuse`. */
export interface Command<Arguments> {
  /** Its name and its positional arguments, as yargs writes them; several if it has other names. */
  readonly syntax: string | readonly string[];
  /** The purpose of the command, for the list of commands. */
  readonly describe: string;
  /** Declares its arguments. */
  arguments(args: Argv): Argv<Arguments>;
  /**
   * Carries it out, and resolves with the exit status. Throws UserError for a failure that has a message for the user. Never
   * ends the process.
   */
  run(args: ArgumentsCamelCase<Arguments>, output: Output): Promise<number>;
}

/** Declares the place of a mount that is there already. */
export function withMountpoint(args: Argv): Argv<{ mountpoint: string }> {
  return args.positional('mountpoint', {
    describe: 'Where an export is mounted',
    type: 'string',
    demandOption: true,
  });
}

/** Declares the mount options of all volumes of a driver. */
export function withVolumeOptions(args: Argv): Argv<{ options: string[] | undefined }> {
  return args.option('options', {
    alias: 'o',
    describe: 'Mount options for every volume; its own come after them',
    type: 'string',
    array: true,
    nargs: 1,
    requiresArg: true,
  });
}

/** A command as the command line has it: by its name, and without the type of its arguments. */
export interface ListedCommand {
  readonly name: string;
  /** Adds the command to a parser. `exit` gets the exit status. */
  addTo(parser: Argv, output: Output, exit: (status: number) => void): Argv;
}

export function listed<Arguments>(command: Command<Arguments>): ListedCommand {
  const [name = ''] = [command.syntax].flat().join(' ').split(' ');
  return {
    name,
    addTo(parser, output, exit) {
      const module: CommandModule<object, Arguments> = {
        command: command.syntax,
        describe: command.describe,
        builder: (args: Argv): Argv<Arguments> => command.arguments(args),
        handler: async (args) => exit(await command.run(args, output)),
      };
      return parser.command(module);
    },
  };
}
