/** `nfs-fuse demo`: a server, a mount of it, and some work through the mount, all on this machine. */
import type { CommandModule } from 'yargs';
import { styleFor, wantsColour } from '../../base/terminal.js';
import { runDemo } from '../../demo/demo.js';

interface DemoArguments {
  readonly 'inside-namespace': boolean | undefined;
}

/** `exit` gets the exit status. */
export function demoCommand(exit: (status: number) => void): CommandModule<object, DemoArguments> {
  return {
    command: 'demo',
    describe: 'Serve a scratch directory, mount it, work in it, and take everything away again',
    builder: (args) => args.option('inside-namespace', { type: 'boolean', hidden: true }),
    handler: async (args) => {
      const status = await runDemo({
        style: styleFor(wantsColour(process.stdout, process.env)),
        print: (line) => process.stdout.write(`${line}\n`),
        insideNamespace: args['inside-namespace'] === true,
      });
      exit(status);
    },
  };
}
