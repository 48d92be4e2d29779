/** `nfs-fuse serve`: runs the embedded NFSv3 server over a local directory until a signal ends it. */
import { errorCode } from '../../base/log.js';
import { shownJson } from '../../base/shown-name.js';
import { UserError } from '../../base/user-error.js';
import { StopSignals } from '../../mount/process/stop-signals.js';
import { EmbeddedServer, isLoopback } from '../../server/index.js';
import type { Command, Output } from '../command.js';
import { handleKey } from '../handle-key.js';
import { ServeRegistration } from '../serve-portmapper.js';
import { decideTrust, describeTrust, type Trust } from '../serve-trust.js';

const NFS_PORT = '2049';

interface ServeArguments {
  readonly directory: string;
  readonly port: string;
  readonly host: string;
  readonly 'export-name': string;
  readonly 'read-only': boolean | undefined;
  readonly 'root-squash': boolean | undefined;
  readonly 'no-root-squash': boolean | undefined;
  readonly 'all-squash': boolean | undefined;
  readonly secure: boolean | undefined;
  readonly insecure: boolean | undefined;
  readonly 'no-portmap': boolean | undefined;
  readonly json: boolean | undefined;
  readonly verbose: boolean | undefined;
}

export const serveCommand: Command<ServeArguments> = {
  syntax: 'serve <directory>',
  describe: 'Serve a local directory over NFSv3; needs no portmapper',
  arguments: (args) =>
    args
      .positional('directory', {
        describe: 'The directory that is exported',
        type: 'string',
        demandOption: true,
      })
      .option('port', {
        describe: 'TCP port for NFS, MOUNT and locks (NLM); 0: any free one',
        type: 'string',
        default: NFS_PORT,
        requiresArg: true,
      })
      .option('host', {
        describe: 'Address to listen on; beyond 127.0.0.1 everybody who reaches it may mount',
        type: 'string',
        default: '127.0.0.1',
        requiresArg: true,
      })
      .option('export-name', {
        describe: 'The path that clients mount',
        type: 'string',
        default: '/export',
        requiresArg: true,
      })
      .option('read-only', { describe: 'Refuse every change', type: 'boolean' })
      .option('root-squash', {
        describe: 'As root: treat uid 0 and gid 0 of callers as nobody; the default',
        type: 'boolean',
      })
      .option('no-root-squash', { describe: 'As root: let callers be root', type: 'boolean' })
      .option('all-squash', { describe: 'As root: treat everybody as nobody', type: 'boolean' })
      .option('secure', {
        describe: "Refuse calls from ports above 1023, which are not root's; the default as root",
        type: 'boolean',
      })
      .option('insecure', {
        describe: 'Believe every program that can connect, whatever user it claims to be',
        type: 'boolean',
      })
      .conflicts('no-root-squash', ['root-squash', 'all-squash'])
      .conflicts('insecure', 'secure')
      .option('no-portmap', {
        describe: 'Do not register with the portmapper of this host, even where one runs',
        type: 'boolean',
      })
      .option('json', { describe: 'Print one JSON object at the start, for programs', type: 'boolean' })
      .option('verbose', {
        alias: 'v',
        describe: 'Print which clients mount, and what the portmapper of this host was told',
        type: 'boolean',
      })
      .example('$0 serve . --port 0', 'Prints the port it got'),
  run: serve,
};

/** Serves until the first signal. A second signal ends it without waiting for calls that are being carried out. */
async function serve(args: ServeArguments, output: Output): Promise<number> {
  const stop = new StopSignals(['SIGINT', 'SIGTERM', 'SIGHUP']);
  const trust = decideTrust({
    rootSquash: args['root-squash'] === true,
    noRootSquash: args['no-root-squash'] === true,
    allSquash: args['all-squash'] === true,
    secure: args.secure === true,
    insecure: args.insecure === true,
  });
  // Clients choose the modes of new objects, so the server must not apply a umask of its own.
  process.umask(0);
  const server = await start(args, trust, output);
  const registration =
    args['no-portmap'] === true
      ? undefined
      : await ServeRegistration.make(server, output.tell, args.verbose === true);
  output.print(
    args.json === true ? jsonGreeting(args, server, trust, registration) : greeting(args, server, trust),
  );
  await stop.first;
  const closed = Promise.all([registration?.remove(), server.close()]);
  const status = await Promise.race([closed.then(() => 0), stop.second.then(() => 1)]);
  stop.dispose();
  return status;
}

function mountOptions({ port }: EmbeddedServer, trust: Trust): string {
  return `port=${port},mountport=${port},nlmport=${port}${trust.reservedPortsOnly ? ',resvport' : ''}`;
}

function greeting({ directory }: ServeArguments, server: EmbeddedServer, trust: Trust): string {
  const { address, port, exportName } = server;
  const host = address.includes(':') ? `[${address}]` : address;
  return (
    `Serving ${directory} as ${host}:${exportName} on port ${port}. Mount it with\n` +
    `  nfs-fuse mount -o ${mountOptions(server, trust)} ${host}:${exportName} MOUNTPOINT\n` +
    `${describeTrust(trust, isLoopback(address))}\n`
  );
}

function jsonGreeting(
  { directory }: ServeArguments,
  server: EmbeddedServer,
  trust: Trust,
  registration: ServeRegistration | undefined,
): string {
  const { address, port, exportName } = server;
  const record = {
    directory,
    address,
    port,
    export: exportName,
    mountOptions: mountOptions(server, trust),
    trust: describeTrust(trust, isLoopback(address)),
    portmapper: registration?.shown ?? null,
  };
  return `${shownJson(record)}\n`;
}

async function start(args: ServeArguments, trust: Trust, { tell }: Output): Promise<EmbeddedServer> {
  const { host } = args;
  const port = /^\d{1,5}$/.test(args.port) ? Number(args.port) : -1;
  if (port < 0 || port > 65535)
    throw new UserError(`--port=${args.port} is not a number from 0 to 65535.`, {
      remedy: 'Give a free port, or 0 for any.',
    });
  const { key, problem } = handleKey();
  if (problem !== undefined)
    tell(
      'warn',
      `The key of the file handles cannot be kept (${problem}): clients will have to look everything up again after a restart.`,
    );
  try {
    return await EmbeddedServer.start({
      path: args.directory,
      port,
      host,
      exportName: args['export-name'],
      readOnly: args['read-only'],
      rootSquash: trust.rootSquash,
      allSquash: trust.allSquash,
      reservedPortsOnly: trust.reservedPortsOnly,
      handleKey: key,
      log: args.verbose === true ? (line) => tell('info', line) : undefined,
    });
  } catch (error) {
    throw startFailure(error, host, port);
  }
}

function startFailure(error: unknown, host: string, port: number): UserError {
  const fail = (message: string, remedy: string) => new UserError(message, { remedy, cause: error });
  switch (errorCode(error)) {
    case 'EADDRINUSE':
      return fail(
        `Port ${port} of ${host} is taken by another program.`,
        'Give another one with --port; --port 0 takes any free one.',
      );
    case 'EACCES':
      return fail(
        `Listening on port ${port} of ${host} is not permitted.`,
        'Give a port above 1023 with --port.',
      );
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return fail(`${host} is no address of this machine.`, 'Leave out --host for 127.0.0.1.');
    default: {
      const message = error instanceof Error ? error.message : String(error);
      return fail(
        `${message.charAt(0).toUpperCase()}${message.slice(1)}.`,
        'Serve a directory that exists, by a name that begins with "/".',
      );
    }
  }
}
