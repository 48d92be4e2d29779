/** `nfs-fuse demo`: a server, a mount of it, and some work through the mount, all on this machine. */
import { styleFor, wantsColour } from '../../base/terminal.js';
import { runDemo } from '../../demo/demo.js';
import type { Command } from '../command.js';

interface DemoArguments {
  readonly 'inside-namespace': boolean | undefined;
}

export const demoCommand: Command<DemoArguments> = {
  syntax: 'demo',
  describe: 'Serve a scratch directory, mount it, work in it, and take everything away again',
  arguments: (args) => args.option('inside-namespace', { type: 'boolean', hidden: true }),
  run: (args, output) =>
    runDemo({
      style: styleFor(wantsColour(process.stdout, process.env)),
      print: (line) => output.print(`${line}\n`),
      insideNamespace: args['inside-namespace'] === true,
    }),
};
