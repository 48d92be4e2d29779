/** `nfs-fuse csi`: a driver for Kubernetes, by the Container Storage Interface. */
import { errorCode } from '../../base/log.js';
import { knownName } from '../../base/nearest-name.js';
import { ownProgram } from '../../base/own-program.js';
import { UserError } from '../../base/user-error.js';
import type { InlinePolicy } from '../../csi/volume/inline-volumes.js';
import { MOST_NODE_ID_BYTES } from '../../csi/wire/size-limits.js';
import { type Command, type Output, withVolumeOptions } from '../command.js';

interface CsiArguments {
  readonly endpoint: string;
  readonly 'node-id': string | undefined;
  readonly 'driver-name': string;
  readonly controller: boolean | undefined;
  readonly node: boolean | undefined;
  readonly mounter: string | undefined;
  readonly 'inline-volumes': string;
  readonly options: string[] | undefined;
}

/** CSI: the name of a domain, of at most 63 characters. */
const DRIVER_NAME = /^(?=.{1,63}$)[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i;

const INLINE_POLICIES: readonly InlinePolicy[] = ['safe', 'any', 'none'];

export const csiCommand: Command<CsiArguments> = {
  syntax: 'csi',
  describe: 'Be a volume driver for Kubernetes (CSI)',
  arguments: (args) =>
    withVolumeOptions(args)
      .option('endpoint', {
        describe: 'The socket to listen on, such as unix:///csi/csi.sock',
        type: 'string',
        nargs: 1,
        requiresArg: true,
        demandOption: true,
      })
      .option('node-id', {
        describe: 'The name of this node, for the Node service',
        type: 'string',
        nargs: 1,
        requiresArg: true,
      })
      .option('driver-name', {
        describe: 'The name of the driver, as storage classes have it',
        type: 'string',
        default: 'nfs-fuse.csi',
        nargs: 1,
        requiresArg: true,
      })
      .option('controller', {
        describe: 'Offer the Controller service, which makes and removes volumes; no privilege needed',
        type: 'boolean',
      })
      .option('node', {
        describe: 'Offer the Node service, which mounts; without any of the two, both are offered',
        type: 'boolean',
      })
      .option('mounter', {
        describe: 'The socket of "nfs-fuse csi-mounter", which serves the mounts in place of own processes',
        type: 'string',
        nargs: 1,
        requiresArg: true,
      })
      .option('inline-volumes', {
        describe: 'Volumes that pods describe: with options that are "safe", with "any", or "none" at all',
        type: 'string',
        default: 'safe',
        nargs: 1,
        requiresArg: true,
      })
      .example('$0 csi --endpoint unix:///csi/csi.sock --controller', '')
      .example(
        '$0 csi --endpoint unix:///csi/csi.sock --node --node-id $NODE --mounter /mounter/mounter.sock',
        '',
      ),
  run: csi,
};

async function csi(args: CsiArguments, { tell }: Output): Promise<number> {
  const isBoth = args.controller !== true && args.node !== true;
  const hasNode = isBoth || args.node === true;
  const hasController = isBoth || args.controller === true;
  const nodeId = args['node-id'];
  if (hasNode && (nodeId === undefined || nodeId === ''))
    throw new UserError('The Node service needs the name of this node.', {
      remedy: 'Write --node-id NAME, or --controller for the Controller service alone.',
    });
  if (Buffer.byteLength(nodeId ?? '') > MOST_NODE_ID_BYTES)
    throw new UserError(`--node-id has more than the ${MOST_NODE_ID_BYTES} bytes that CSI allows.`, {
      remedy: 'Write the name that Kubernetes has for this node (spec.nodeName).',
    });
  if (!hasNode && args.mounter !== undefined)
    throw new UserError('--mounter is for the Node service, which --controller leaves out.', {
      remedy: 'Leave --mounter out, or add --node.',
    });
  const driverName = args['driver-name'];
  if (!DRIVER_NAME.test(driverName))
    throw new UserError(`--driver-name=${driverName} is not the name of a driver.`, {
      remedy: 'Letters, digits, "-" and "." will do, 63 of them at most, such as nfs-fuse.csi.',
    });
  const inline = knownName('--inline-volumes', args['inline-volumes'], INLINE_POLICIES);
  const { runDriver } = await loadDriver();
  await runDriver({
    endpoint: args.endpoint,
    driverName,
    nodeId: hasNode ? nodeId : undefined,
    hasController,
    mounter: args.mounter,
    inline,
    defaults: args.options ?? [],
    program: ownProgram(),
    tell,
  });
  return 0;
}

/** Only this command needs gRPC, which takes long to load. */
async function loadDriver() {
  try {
    return await import('../../csi/csi-driver.js');
  } catch (error) {
    if (!/MODULE_NOT_FOUND$/.test(errorCode(error))) throw error;
    throw new UserError('The packages @grpc/grpc-js and @grpc/proto-loader cannot be loaded.', {
      remedy: 'Install nfs-fuse with all its packages (npm install nfs-fuse).',
      cause: error,
    });
  }
}
