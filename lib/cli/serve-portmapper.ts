/**
 * `nfs-fuse serve` and the portmapper of its host: registers the server there where one runs, takes its registrations away at
 * its end, and has a sentence for each outcome. A server without a portmapper is as good as one with it.
 */
import type { LogSink } from '../base/log.js';
import { MOUNT_PROGRAM } from '../programs/mount3/index.js';
import { NFS_PROGRAM } from '../programs/nfs3/index.js';
import { NLM_PROGRAM } from '../programs/nlm4/index.js';
import {
  LocalRegistrations,
  type PortmapError,
  type RefusedRegistration,
  type Registration,
} from '../programs/portmap/index.js';

/**
 * NFS and MOUNT belong together, and locks belong to a server's files. Somebody else's NLM alone is usual: the kernel
 * registers one for its own NFS mounts.
 */
const GROUPS = [[NFS_PROGRAM, MOUNT_PROGRAM], [NLM_PROGRAM]];

/** The registrations as --json prints them. */
export interface ShownRegistrations {
  readonly registered: readonly ShownRegistration[];
  readonly refused: readonly (ShownRegistration & { readonly takenByPort: number | null })[];
}

interface ShownRegistration {
  readonly program: string;
  readonly number: number;
  readonly version: number;
  readonly netid: string;
  readonly address: string;
  readonly port: number;
}

export class ServeRegistration {
  readonly #registrations: LocalRegistrations | undefined;
  readonly #tell: LogSink;

  private constructor(registrations: LocalRegistrations | undefined, tell: LogSink) {
    this.#registrations = registrations;
    this.#tell = tell;
  }

  /** Registers a server that listens there. Never fails: it tells what clients have to know. */
  static async make(
    server: { readonly address: string; readonly port: number },
    tell: LogSink,
    verbose: boolean,
  ): Promise<ServeRegistration> {
    let registrations: LocalRegistrations | undefined;
    try {
      registrations = await LocalRegistrations.make(GROUPS, { host: server.address, port: server.port });
    } catch (error) {
      tell('warn', `Not registered with the portmapper: ${(error as PortmapError).message}`);
    }
    const { made = [], refused = [], replaced = [] } = registrations ?? {};
    for (const { port } of replaced)
      tell(
        'info',
        `Replaced what a server at port ${port} had left with the portmapper: it does not run any more.`,
      );
    if (made.length > 0 && verbose)
      tell('info', `Registered with the portmapper of this host: ${programs(made)}.`);
    if (refused.length > 0) tell('warn', refusal(refused));
    return new ServeRegistration(registrations, tell);
  }

  /** Undefined: there is no portmapper. */
  get shown(): ShownRegistrations | undefined {
    if (this.#registrations === undefined) return undefined;
    return {
      registered: this.#registrations.made.map(shown),
      refused: this.#registrations.refused.map((refused) => ({
        ...shown(refused),
        takenByPort: refused.taken ?? null,
      })),
    };
  }

  /** Takes the registrations away. Never fails: it tells which ones stay. */
  async remove(): Promise<void> {
    const made = this.#registrations?.made ?? [];
    let left: readonly Registration[] = made;
    let why = '.';
    try {
      left = (await this.#registrations?.remove()) ?? [];
    } catch (error) {
      why = `: ${(error as PortmapError).message}`;
    }
    if (left.length > 0) this.#tell('warn', `Still registered with the portmapper: ${programs(left)}${why}`);
  }
}

function shown({ program, netid, address }: Registration): ShownRegistration {
  const { name, number, version } = program;
  return { program: name, number, version, netid, address: address.host, port: address.port };
}

/** "NFS, MOUNT and NLM". */
function programs(registrations: readonly Registration[]): string {
  const names = [...new Set(registrations.map(({ program }) => program.name))];
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

function refusal(refused: readonly RefusedRegistration[]): string {
  const taken = refused.filter(({ taken }) => taken !== undefined);
  const needed = 'clients of this server need port=, mountport= and nlmport=';
  if (taken.length === 0)
    return (
      `The portmapper of this host refuses to register ${programs(refused)}: ${needed}. ` +
      'A mount with nlmcallback is such a portmapper.'
    );
  const list = taken.map(
    ({ program, netid, taken }) => `${program.name} version ${program.version} (${netid}, port ${taken})`,
  );
  const effect = taken.every(({ program }) => program === NLM_PROGRAM)
    ? 'clients do not find the locks of this server'
    : needed;
  return `The portmapper of this host has another registration of ${list.join(', ')}: it stays, and ${effect}.`;
}
