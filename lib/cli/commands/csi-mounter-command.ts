/** `nfs-fuse csi-mounter`: serves the mounts that the Node service of `nfs-fuse csi` makes, without any privilege. */
import { ownProgram } from '../../base/own-program.js';
import { runMounter } from '../../csi/mounter/mounter.js';
import type { Command, Output } from '../command.js';

interface CsiMounterArguments {
  readonly socket: string;
  readonly 'state-folder': string | undefined;
}

export const csiMounterCommand: Command<CsiMounterArguments> = {
  syntax: 'csi-mounter',
  describe: 'Serve the mounts of "nfs-fuse csi", without privilege and beyond its life',
  arguments: (args) =>
    args
      .option('socket', {
        describe: 'The socket to listen on, as "nfs-fuse csi --mounter" has it',
        type: 'string',
        nargs: 1,
        requiresArg: true,
        demandOption: true,
      })
      .option('state-folder', {
        describe: 'The folder of the states of mounts, best in memory; by default in /dev/shm',
        type: 'string',
        nargs: 1,
        requiresArg: true,
      })
      .example('$0 csi-mounter --socket /mounter/mounter.sock', ''),
  run: csiMounter,
};

async function csiMounter(args: CsiMounterArguments, { tell }: Output): Promise<number> {
  await runMounter({
    socket: args.socket,
    stateFolder: args['state-folder'],
    program: ownProgram(),
    tell,
  });
  return 0;
}
