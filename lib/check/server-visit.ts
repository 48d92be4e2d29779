/** The state that the checks of one server share: how to reach it, and the results of earlier checks. */
import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { readRights } from '../fuse/index.js';
import type { ExportSummary } from '../mount/failure/explainer.js';
import { mountFailure } from '../mount/failure/mount-failure.js';
import type { MountRequest } from '../mount/options/mount-options.js';
import { callTimes } from '../mount/server/call-times.js';
import { summaries } from '../mount/server/server-exports.js';
import type { ExportEntry, Mount3Client, MountGrant } from '../programs/mount3/index.js';
import { type Fattr3, NFS_PROGRAM } from '../programs/nfs3/index.js';
import type { Mapping, PortmapOptions } from '../programs/portmap/index.js';
import { programService } from '../programs/program-service.js';
import type { RpcClient, RpcService, ServiceOptions } from '../rpc/index.js';
import type { Program } from '../rpc/wire/procedure.js';
import type { ClientConfig } from '../vfs/config.js';
import { askMountd } from '../vfs/remote/export-session.js';
import { failureOf, type Verdict } from './step.js';

/** Linux's range, as mounting uses it. */
const RESERVED_PORTS = [665, 1023] as const;
const silent = { info: () => {}, warn: () => {}, error: () => {} };

export class ServerVisit {
  readonly request: MountRequest;
  /** How to reach the server: with its address if the options ask for a family, and with the ports once they are known. */
  config: ClientConfig;
  /** All registrations with the portmapper. Undefined: it was not asked, or does not tell. */
  mappings: readonly Mapping[] | undefined;
  exports: readonly ExportEntry[] | undefined;
  grant: MountGrant | undefined;
  root: Fattr3 | undefined;
  /** The server refused calls from other ports. */
  demandsReservedPort = false;
  /** The server's address. */
  address: string | undefined;
  #triedReservedPort = false;
  readonly #times: ServiceOptions;

  /** No call takes longer than `timeoutMs`. */
  constructor(request: MountRequest, timeoutMs: number) {
    this.request = request;
    this.config = request.client;
    this.#times = {
      ...callTimes(request.client.proto, timeoutMs),
      recovery: 'soft',
      connectTimeout: timeoutMs,
    };
  }

  get portmapOptions(): PortmapOptions {
    return { rpc: this.#times, family: this.request.addressFamily };
  }

  /** Asks mountd, over a connection of its own. */
  mountd<Answer>(ask: (mountd: Mount3Client) => Promise<Answer>): Promise<Answer> {
    return askMountd(this.config, { log: silent }, ask, this.#times);
  }

  /** Asks the NFS server, over a connection of its own. */
  async nfs<Answer>(ask: (rpc: RpcClient) => Promise<Answer>): Promise<Answer> {
    return this.#nfsService().ask(ask);
  }

  /** The port from the options, or else from the portmapper. */
  async nfsPort(): Promise<number> {
    return this.#nfsService().port();
  }

  #nfsService(): RpcService {
    return this.service(NFS_PROGRAM, this.config.port);
  }

  /** A service of the server; without a port the portmapper is asked for it. */
  service(program: Program, port: number | undefined): RpcService {
    const { host, proto, resvport } = this.config;
    const address = { host, port, protocol: proto, resvport, portmap: this.portmapOptions };
    return programService(program, address, this.#times);
  }

  /**
   * Makes the attempt. If it is refused, `refused` says that a reserved port may help, and this process may have one, makes
   * it again from such a port. If that helps, all later calls use one.
   */
  async withPort<Answer>(
    attempt: () => Promise<Answer>,
    refused: (error: unknown) => boolean,
  ): Promise<Answer> {
    try {
      return await attempt();
    } catch (error) {
      if (this.config.resvport || !refused(error) || !(await mayBindReservedPort())) throw error;
      const before = this.config;
      this.config = { ...before, resvport: true };
      this.#triedReservedPort = true;
      try {
        const answer = await attempt();
        this.demandsReservedPort = true;
        return answer;
      } catch (again) {
        this.config = before;
        throw again;
      }
    }
  }

  /**
   * A failure with the sentences that mounting would print. The advice to use a reserved port is left out if one did not
   * help, except in a container, where address translation may have changed the port.
   */
  async explain(error: unknown): Promise<Verdict> {
    const { client } = this.request;
    const inVain = this.#triedReservedPort && readRights().initialUserNamespace;
    const config = { ...client, resvport: client.resvport || inVain };
    return failureOf(await mountFailure(error, config, async () => this.exportSummaries()));
  }

  exportSummaries(): ExportSummary[] | undefined {
    return this.exports === undefined ? undefined : summaries(this.exports);
  }

  /** Removes the entry that MNT has made in mountd's list of clients. The list is for information only. */
  async leave(): Promise<void> {
    if (this.grant === undefined) return;
    await this.mountd((mountd) => mountd.unmount(this.config.exportPath)).catch(() => {});
  }
}

/** The address from which this machine reaches `address`, found without a packet. Undefined: there is no route. */
export function ownAddress(address: string, port: number): Promise<string | undefined> {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  return new Promise((resolve) => {
    const done = (own: string | undefined) => {
      socket.close();
      resolve(own);
    };
    socket.once('error', () => done(undefined));
    socket.connect(port, address, () => done(socket.address().address));
  });
}

/** Whether this process may bind a port below 1024. */
export async function mayBindReservedPort(): Promise<boolean> {
  const [first, last] = RESERVED_PORTS;
  for (let port = last; port >= first; port--) {
    const code = await bind(port);
    if (code === undefined) return true;
    if (code !== 'EADDRINUSE') return false;
  }
  return false;
}

function bind(port: number): Promise<string | undefined> {
  const socket = createSocket('udp4');
  return new Promise((resolve) => {
    const done = (code: string | undefined) => {
      socket.close();
      resolve(code);
    };
    socket.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? 'unknown'));
    socket.bind({ port, address: '127.0.0.1', exclusive: true }, () => done(undefined));
  });
}
