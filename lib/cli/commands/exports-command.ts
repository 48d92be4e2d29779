/** `nfs-fuse exports`: lists a server's exports and their clients. */

import { isIPv6 } from 'node:net';
import { shownJson, shownName } from '../../base/shown-name.js';
import type { ExportSummary } from '../../mount/failure/explainer.js';
import { mountFailure } from '../../mount/failure/mount-failure.js';
import { parseMountRequest } from '../../mount/options/mount-options.js';
import { fetchExports } from '../../mount/server/server-exports.js';
import type { Command } from '../command.js';

interface ExportsArguments {
  readonly server: string;
  readonly options: string[] | undefined;
  readonly json: boolean | undefined;
}

export const exportsCommand: Command<ExportsArguments> = {
  syntax: 'exports <server>',
  describe: 'List what a server exports, as showmount -e does',
  arguments: (args) =>
    args
      .positional('server', { describe: 'Name or address', type: 'string', demandOption: true })
      .option('options', {
        alias: 'o',
        describe: 'Mount options that say how to reach it: mountport=, proto=, mounthost=, resvport',
        type: 'string',
        array: true,
        nargs: 1,
        requiresArg: true,
      })
      .option('json', { describe: 'Print JSON: [{"path": …, "clients": […]}, …]', type: 'boolean' })
      .example('$0 exports -o mountport=20048 server', 'No portmapper needed'),
  run: async (args, output) => {
    // The server is read like a target, so that it may be spelled in the same ways. The path does not matter.
    const server = isIPv6(args.server) ? `[${args.server}]` : args.server;
    const { client } = parseMountRequest(`${server}:/`, args.options ?? []);
    let list: ExportSummary[];
    try {
      list = await fetchExports(client);
    } catch (error) {
      throw await mountFailure(error, client, async () => undefined);
    }
    output.print(args.json === true ? `${shownJson(list, 2)}\n` : table(client.host, list));
    return 0;
  },
};

function table(host: string, list: readonly ExportSummary[]): string {
  const width = Math.max(0, ...list.map((entry) => shownName(entry.path).length));
  const lines = list.map(
    ({ path, clients }) =>
      `${shownName(path).padEnd(width)} ${clients.length === 0 ? '(everyone)' : clients.map(shownName).join(',')}`,
  );
  return [`Export list for ${host}:`, ...lines, ''].join('\n');
}
