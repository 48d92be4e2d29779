/** Checks whether the server grants the export: its list of exports and clients, MNT, and the ways to identify a user. */

import { RESERVED_PORT } from '../mount/failure/explainer.js';
import { exportList } from '../mount/failure/mount3-failure.js';
import { type ExportEntry, MountRefused, MountStatus } from '../programs/mount3/index.js';
import { AuthFlavor, RpcAuthError, RpcError } from '../rpc/index.js';
import { membership } from './client-list.js';
import { ownAddress, type ServerVisit } from './server-visit.js';
import { failure, ok, type Step, type Verdict, warning } from './step.js';

/** RFC 2623: the pseudo flavors of Kerberos. */
const FLAVOR_NAMES: Readonly<Record<number, string>> = {
  [AuthFlavor.NONE]: 'none',
  [AuthFlavor.SYS]: 'sys',
  390003: 'krb5',
  390004: 'krb5i',
  390005: 'krb5p',
};
const SLASH = 0x2f;

export function exportSteps(visit: ServerVisit): Step[] {
  return [
    { name: 'export list', needs: ['MOUNT service'], examine: () => listed(visit) },
    { name: 'client list', needs: ['MOUNT service'], examine: () => clientList(visit) },
    { name: 'MNT', needs: ['MOUNT service'], examine: () => mnt(visit) },
    { name: 'auth flavours', needs: ['MNT'], examine: () => flavours(visit) },
  ];
}

/** MNT decides. A list without the export, or no list, is only a warning. */
async function listed(visit: ServerVisit): Promise<Verdict> {
  const path = visit.config.exportPath.toString('utf8');
  try {
    visit.exports = await visit.mountd((mountd) => mountd.exports());
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    return warning(
      `The server does not tell what it exports (${error.message}).`,
      'Nothing but "nfs-fuse exports" and explanations need the list: MNT decides.',
    );
  }
  const own = ownExport(visit);
  const exact = own?.directory.equals(visit.config.exportPath);
  if (exact) return ok(`${path} is in it`);
  if (own !== undefined) return ok(`${path} is in the export ${own.directory.toString('utf8')}`);
  return warning(`${path} is not in it.`, exportList(visit.exportSummaries()));
}

/** The export that contains the path; of several, the one with the longest name. */
function ownExport(visit: ServerVisit): ExportEntry | undefined {
  const path = visit.config.exportPath;
  const holds = ({ directory }: ExportEntry) =>
    path.subarray(0, directory.length).equals(directory) &&
    (path.length === directory.length || path[directory.length] === SLASH || directory.at(-1) === SLASH);
  return visit.exports
    ?.filter(holds)
    .sort((a, b) => b.directory.length - a.directory.length)
    .at(0);
}

async function clientList(visit: ServerVisit): Promise<Verdict> {
  const own = ownExport(visit);
  if (own === undefined) return ok('not known: the server does not list this export');
  const clients = own.groups.map((group) => group.toString('utf8'));
  if (clients.length === 0) return ok('everybody may mount');
  const { config } = visit;
  const address = await ownAddress(visit.address ?? config.host, config.mountPort ?? 111);
  const list = clients.join(', ');
  if (address === undefined) return ok(`this machine's own address is not known; the list is ${list}`);
  switch (membership(clients, address)) {
    case 'yes':
      return ok(`this machine (${address}) is in it: ${list}`);
    case 'unknown':
      return ok(`the server knows whether this machine (${address}) is in it: ${list}`);
    case 'no':
      return warning(
        `This machine (${address}) is not in it: ${list}.`,
        `Add ${address} to the clients of the export (from a container the server may see its host's address instead).`,
      );
  }
}

async function mnt(visit: ServerVisit): Promise<Verdict> {
  const { exportPath } = visit.config;
  try {
    visit.grant = await visit.withPort(
      () => visit.mountd((mountd) => mountd.mount(exportPath)),
      refusedForPort,
    );
    return ok(visit.demandsReservedPort ? 'granted to a source port below 1024' : 'granted');
  } catch (error) {
    return visit.explain(error);
  }
}

/** Whether the source port may be the reason of this refusal. */
function refusedForPort(error: unknown): boolean {
  if (error instanceof RpcAuthError) return true;
  return (
    error instanceof MountRefused && (error.status === MountStatus.ACCES || error.status === MountStatus.PERM)
  );
}

function flavours(visit: ServerVisit): Verdict {
  const offered = visit.grant?.flavors ?? [];
  const names = offered.map((flavor) => FLAVOR_NAMES[flavor] ?? `flavour ${flavor}`).join(', ');
  // A server that lists no flavours leaves the choice to the client (RFC 1813 5.2.1).
  if (offered.length === 0) return ok('none are listed: AUTH_SYS is assumed');
  if (offered.includes(AuthFlavor.SYS)) return ok(`AUTH_SYS is among them: ${names}`);
  const remedy = 'Add sec=sys to the options of the export (nfs-ganesha: SecType = sys).';
  if (offered.includes(AuthFlavor.NONE))
    return warning(`The server takes everybody for the same anonymous user: ${names}.`, remedy);
  return failure(`AUTH_SYS is not offered, only ${names}.`, remedy);
}

/** Runs after the first NFS call, because the server may refuse only that one. */
export function reservedPort(visit: ServerVisit): Verdict {
  if (visit.demandsReservedPort)
    return failure('The server refuses calls from ports above 1023.', RESERVED_PORT);
  return ok(visit.config.resvport ? 'resvport is given' : 'not demanded');
}
