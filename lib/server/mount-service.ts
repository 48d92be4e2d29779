/** The MOUNT program: which paths may be mounted, and the list of clients that have mounted them. */

import { constants } from 'node:os';
import { mountProcedures } from '../programs/mount3/index.js';
import { MNTPATHLEN, type MountResult, MountStatus } from '../programs/mount3/types.js';
import { FileType, fileNameFromBytes, Status } from '../programs/nfs3/index.js';
import { AuthFlavor } from '../rpc/auth/credential.js';
import { handle, type ServerCall, type ServerProcedure } from '../rpc/server/server-procedure.js';
import { parseName } from './checked-name.js';
import type { ServedUser } from './served-users.js';
import { NfsError, ObjectMovedError } from './status-error.js';
import { statAt } from './tree/file-stat.js';
import type { ExportedTree } from './tree/tree.js';

/** The most entries in the list. It is for information only, and clients that never unmount must not let it grow. */
const MAX_MOUNTS = 1024;

export interface MountServiceOptions {
  /** The name under which the directory is offered, besides "/" and its own path. */
  readonly exportName: string;
  /** The exported directory's path on this machine. */
  readonly path: string;
  /** The tree that is exported. Opens it again if the directory was replaced. */
  readonly tree: () => ExportedTree;
  readonly log: (line: string) => void;
  /** The identity that the directory is looked up with. Undefined: the call is refused. */
  readonly callerOf: (call: ServerCall) => ServedUser | undefined;
}

interface Mount {
  readonly host: string;
  readonly path: string;
}

export class MountService {
  readonly #options: MountServiceOptions;
  readonly #mounts = new Map<string, Mount>();

  constructor(options: MountServiceOptions) {
    this.#options = options;
  }

  /** For RpcServer.register. */
  procedures(): ServerProcedure[] {
    const { MNT, DUMP, UMNT, UMNTALL, EXPORT } = mountProcedures;
    const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
    return [
      handle(MNT, (path, call) => this.#mount(textOf(path), call)),
      handle(DUMP, () =>
        [...this.#mounts.values()].map(({ host, path }) => ({
          hostname: bytes(host),
          directory: bytes(path),
        })),
      ),
      handle(UMNT, (path, call) => {
        this.#mounts.delete(`${call.remoteAddress} ${textOf(path)}`);
        return undefined;
      }),
      handle(UMNTALL, (_, call) => {
        for (const [key, { host }] of this.#mounts) if (host === call.remoteAddress) this.#mounts.delete(key);
        return undefined;
      }),
      handle(EXPORT, () => [{ directory: Buffer.from(this.#options.exportName), groups: [] }]),
    ];
  }

  #mount(path: string, call: ServerCall): MountResult {
    const host = call.remoteAddress;
    const caller = this.#options.callerOf(call);
    const result = caller === undefined ? { status: MountStatus.ACCES } : this.#resolve(path, caller);
    const how = result.status === MountStatus.OK ? 'mounted' : `was refused (status ${result.status})`;
    this.#options.log(`${host} port ${call.remotePort} ${how} ${Buffer.from(path, 'latin1').toString()}`);
    if (result.status === MountStatus.OK) {
      this.#mounts.set(`${host} ${path}`, { host, path });
      const [oldest] = this.#mounts.keys();
      if (this.#mounts.size > MAX_MOUNTS && oldest !== undefined) this.#mounts.delete(oldest);
    }
    return result;
  }

  /** Finds a directory only if the caller may look it up, name by name. */
  #resolve(path: string, caller: ServedUser): MountResult {
    if (path.length > MNTPATHLEN) return { status: MountStatus.NAMETOOLONG };
    const names = this.#below(path);
    if (names === undefined) return { status: MountStatus.NOENT };
    try {
      const { table, callers } = this.#options.tree();
      let inode = table.root;
      for (const component of names) {
        const name = parseName(fileNameFromBytes(Buffer.from(component, 'latin1')), Status.ACCES);
        const descriptor = table.openDirectory(inode);
        const stat = callers.as(caller, () => statAt(descriptor, name.cString));
        if (typeof stat === 'number') return { status: mountStatusOf(-stat) };
        // The client follows links, not the server: they could lead anywhere.
        if (stat.type !== FileType.DIR) return { status: MountStatus.NOTDIR };
        inode = table.intern(stat, inode, descriptor, name.text, name.cString);
      }
      const flavors = [AuthFlavor.SYS, AuthFlavor.NONE];
      return { status: MountStatus.OK, grant: { handle: inode.handle, flavors } };
    } catch (error) {
      if (error instanceof ObjectMovedError) return { status: MountStatus.NOENT };
      if (!(error instanceof NfsError)) throw error;
      return { status: error.status === Status.ACCES ? MountStatus.ACCES : MountStatus.NOENT };
    }
  }

  /** The components of a path below the exported directory; undefined when it is not below. */
  #below(path: string): string[] | undefined {
    const components = split(path);
    for (const prefix of [this.#options.exportName, this.#options.path].map(bytesOf).map(split)) {
      if (prefix.every((name, i) => components[i] === name)) return components.slice(prefix.length);
    }
    return path.startsWith('/') || path === '' ? components : undefined;
  }
}

function mountStatusOf(errno: number): Exclude<MountStatus, typeof MountStatus.OK> {
  if (errno === constants.errno.ENAMETOOLONG) return MountStatus.NAMETOOLONG;
  return errno === constants.errno.EACCES ? MountStatus.ACCES : MountStatus.NOENT;
}

function textOf(path: Uint8Array): string {
  return Buffer.from(path).toString('latin1');
}

function bytesOf(path: string): string {
  return Buffer.from(path).toString('latin1');
}

function split(path: string): string[] {
  return path.split('/').filter((name) => name !== '');
}
