/** Asks a server for its exports and their clients: EXPORT of the MOUNT protocol, like showmount -e. */

import { MOUNT_PROGRAM, Mount3Client } from '../../programs/mount3/index.js';
import { getPort } from '../../programs/portmap/index.js';
import { AUTH_NONE, RpcClient } from '../../rpc/index.js';
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
  const { number, version } = MOUNT_PROGRAM;
  const port = config.mountPort ?? (await getPort(host, number, version, protocol, { rpc }));
  const client = await RpcClient.connect({ ...rpc, host, port, protocol, resvport, recovery: 'soft' });
  try {
    const exports = await new Mount3Client(client, AUTH_NONE, host).exports();
    return exports.map((entry) => ({
      path: entry.directory.toString('utf8'),
      clients: entry.groups.map((group) => group.toString('utf8')),
    }));
  } finally {
    client.close();
  }
}
