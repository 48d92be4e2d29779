/** Asks a server for its exports and their clients: EXPORT of the MOUNT protocol, like showmount -e. */

import { type ExportEntry, MOUNT_PROGRAM, Mount3Client } from '../../programs/mount3/index.js';
import { programService } from '../../programs/program-service.js';
import { AUTH_NONE } from '../../rpc/index.js';
import type { ClientConfig } from '../../vfs/config.js';
import type { ExportSummary } from '../failure/explainer.js';
import { callTimes } from './call-times.js';

const PATIENCE_MS = 10_000;
/** A failed mount shows the list only if the server sends it within this time. */
const EXPLANATION_PATIENCE_MS = 2_000;

/** The exports of a server. Throws PortmapError and RpcError. */
export function fetchExports(config: ClientConfig): Promise<ExportSummary[]> {
  return ask(config, PATIENCE_MS);
}

/** The exports of a server, to explain a failure. Undefined: the server does not send them soon. */
export async function exportsForExplanation(config: ClientConfig): Promise<ExportSummary[] | undefined> {
  try {
    return await ask(config, EXPLANATION_PATIENCE_MS);
  } catch {
    return undefined;
  }
}

/** Waits for each answer for at most `patienceMs`. */
async function ask(config: ClientConfig, patienceMs: number): Promise<ExportSummary[]> {
  const host = config.mountHost ?? config.host;
  const { proto: protocol, resvport } = config;
  const rpc = { connectTimeout: patienceMs, ...callTimes(protocol, patienceMs) };
  const address = { host, port: config.mountPort, protocol, resvport, portmap: { rpc } };
  const mountd = programService(MOUNT_PROGRAM, address, { ...rpc, recovery: 'soft' });
  return summaries(await mountd.ask((client) => new Mount3Client(client, AUTH_NONE, host).exports()));
}

/** The server's list in the form in which messages show it. */
export function summaries(exports: readonly ExportEntry[]): ExportSummary[] {
  return exports.map((entry) => ({
    path: entry.directory.toString('utf8'),
    clients: entry.groups.map((group) => group.toString('utf8')),
  }));
}
