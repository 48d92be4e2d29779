/** Checks whether a server can be reached: its name, its portmapper, its two services. */
import type { LookupAddress } from 'node:dns';
import { lookup } from 'node:dns/promises';
import { lookupFailure } from '../mount/failure/lookup-failure.js';
import { withAddress } from '../mount/server/server-address.js';
import { MOUNT_PROGRAM } from '../programs/mount3/index.js';
import { NFS_PROGRAM, NULL } from '../programs/nfs3/index.js';
import { NLM_PROGRAM } from '../programs/nlm4/index.js';
import { dumpPorts, getPort, IpProtocol, type Mapping, PORTMAP_PORT } from '../programs/portmap/index.js';
import { AUTH_NONE, RpcUnacceptedError } from '../rpc/index.js';
import { exportSteps } from './export-steps.js';
import { lockManager } from './lock-step.js';
import { rootSteps } from './root-steps.js';
import type { ServerVisit } from './server-visit.js';
import { failureOf, ok, type Step, type Verdict } from './step.js';

/** The programs that an NFSv3 client uses, the most important first. */
const PROGRAMS: readonly (readonly [name: string, program: number])[] = [
  ['NFS', NFS_PROGRAM.number],
  ['MOUNT', MOUNT_PROGRAM.number],
  ['NLM', NLM_PROGRAM.number],
];

/** All steps about the server and the export that `visit` asks for. */
export function serverSteps(visit: ServerVisit): Step[] {
  const { port, mountPort } = visit.request.client;
  const found = (given: number | undefined) => (given === undefined ? ['portmapper'] : ['server name']);
  return [
    { name: 'server name', examine: () => serverName(visit) },
    { name: 'portmapper', needs: ['server name'], examine: () => portmapper(visit) },
    { name: 'MOUNT service', needs: found(mountPort), examine: () => mountService(visit) },
    { name: 'NFS service', needs: found(port), examine: () => nfsService(visit) },
    ...exportSteps(visit),
    ...rootSteps(visit),
    { name: 'lock manager', needs: ['NFS service'], examine: () => lockManager(visit) },
  ];
}

async function serverName(visit: ServerVisit): Promise<Verdict> {
  const { request } = visit;
  const { host } = request.client;
  let all: LookupAddress[];
  try {
    all = await lookup(host, { all: true });
  } catch (error) {
    return failureOf(lookupFailure(host, (error as NodeJS.ErrnoException).code ?? '', error));
  }
  visit.config = await withAddress(request);
  const family = request.addressFamily;
  const usable = all.filter((one) => family === undefined || one.family === family);
  visit.address = usable[0]?.address;
  return ok([...new Set(usable.map((one) => `${one.address} (IPv${one.family})`))].join(', '));
}

async function portmapper(visit: ServerVisit): Promise<Verdict> {
  const { config } = visit;
  if (config.port !== undefined && config.mountPort !== undefined)
    return ok('not asked: port= and mountport= are given');
  try {
    visit.mappings = await dumpPorts(config.host, visit.portmapOptions);
  } catch (error) {
    if (error instanceof Error && error.cause instanceof RpcUnacceptedError)
      return ok(`answers on port ${PORTMAP_PORT}, but does not list its programs`);
    return visit.explain(error);
  }
  const list = PROGRAMS.map(([name, program]) => registered(visit, name, program)).filter(
    (text) => text !== '',
  );
  return ok(list.length === 0 ? `answers on port ${PORTMAP_PORT}` : list.join('; '));
}

/** "NFS 3, 4 on port 2049", for the protocol of the mount. Empty: nothing is registered. */
function registered(visit: ServerVisit, name: string, program: number): string {
  const of = mappingsOf(visit, program);
  const versions = [...new Set(of.map(({ version }) => version))].sort((a, b) => a - b);
  const ports = [...new Set(of.map(({ port }) => port))];
  if (versions.length === 0) return '';
  return `${name} ${versions.join(', ')} on ${ports.length === 1 ? 'port' : 'ports'} ${ports.join(', ')}`;
}

function mappingsOf(visit: ServerVisit, program: number): Mapping[] {
  const protocol = visit.config.proto === 'tcp' ? IpProtocol.TCP : IpProtocol.UDP;
  return (visit.mappings ?? []).filter(
    (mapping) => mapping.program === program && mapping.protocol === protocol,
  );
}

async function mountService(visit: ServerVisit): Promise<Verdict> {
  const { host, mountHost, mountPort, proto } = visit.config;
  const { number, version } = MOUNT_PROGRAM;
  try {
    const port =
      mountPort ?? (await getPort(mountHost ?? host, number, version, proto, visit.portmapOptions));
    visit.config = { ...visit.config, mountPort: port };
    await visit.mountd((mountd) => mountd.null());
    return ok(`version ${version} answers on port ${port} (${proto})`);
  } catch (error) {
    return visit.explain(error);
  }
}

async function nfsService(visit: ServerVisit): Promise<Verdict> {
  try {
    const port = await visit.nfsPort();
    visit.config = { ...visit.config, port };
    await visit.nfs((rpc) => rpc.call(NULL, undefined, { credential: AUTH_NONE }));
    return ok(`version ${NFS_PROGRAM.version} answers on port ${port} (${visit.config.proto})`);
  } catch (error) {
    return visit.explain(error);
  }
}
