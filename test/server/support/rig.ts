/** An embedded server over a scratch folder, and a client that calls its procedures one by one. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { MNT } from '../../../lib/programs/mount3/procedures.js';
import { MountStatus } from '../../../lib/programs/mount3/types.js';
import * as nfs from '../../../lib/programs/nfs3/index.js';
import { AUTH_NONE } from '../../../lib/rpc/auth/auth-none.js';
import { authSysCredential } from '../../../lib/rpc/auth/auth-sys.js';
import type { Credential } from '../../../lib/rpc/auth/credential.js';
import { RpcClient } from '../../../lib/rpc/client/client.js';
import type { Procedure } from '../../../lib/rpc/wire/procedure.js';
import { EmbeddedServer, type EmbeddedServerOptions } from '../../../lib/server/index.js';

export function user(uid: number, gid = uid, groups: readonly number[] = []): Credential {
  return authSysCredential({ machineName: 'test', uid, gid, groups });
}

export const ROOT = user(0);
export const NOBODY = AUTH_NONE;

/** A folder that ends with the test. */
export function scratch(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'nfs-fuse-server-'));
  // Node's own rmSync gives up on paths that are too long.
  t.teardown(() => execFileSync('rm', ['-rf', folder]));
  return folder;
}

export class Rig {
  constructor(
    readonly server: EmbeddedServer,
    /** The exported folder. */
    readonly folder: string,
    readonly client: RpcClient,
    /** Handle of the exported folder. */
    public root: nfs.FileHandle,
  ) {}

  call<Arguments, Result>(
    procedure: Procedure<Arguments, Result>,
    args: Arguments,
    credential: Credential = ROOT,
  ): Promise<Result> {
    return this.client.call(procedure, args, { credential });
  }

  /** MNT. Throws when it is refused. */
  async mount(path = this.server.exportName): Promise<nfs.FileHandle> {
    const result = await this.call(MNT, Buffer.from(path));
    if (result.status !== MountStatus.OK) throw new Error(`MNT ${path} is refused: ${result.status}`);
    return result.grant.handle;
  }

  at(name: string | Uint8Array, directory = this.root): nfs.DirectoryName {
    return {
      directory,
      name: typeof name === 'string' ? nfs.fileNameFromText(name) : nfs.fileNameFromBytes(name),
    };
  }

  lookup(name: string, directory = this.root, credential = ROOT): Promise<nfs.LookupResult> {
    return this.call(nfs.LOOKUP, this.at(name, directory), credential);
  }

  /** The handle behind a path of names. Throws when there is none. */
  async find(path: string, from = this.root): Promise<nfs.FileHandle> {
    let handle = from;
    for (const name of path.split('/')) handle = ok(await this.lookup(name, handle)).object;
    return handle;
  }

  async attributes(object: nfs.FileHandle): Promise<nfs.Fattr3> {
    return ok(await this.call(nfs.GETATTR, { object })).attributes;
  }

  /** The status that GETATTR answers for a handle. */
  async probe(object: nfs.FileHandle): Promise<string> {
    return nfs.statusName((await this.call(nfs.GETATTR, { object })).status);
  }

  create(
    name: string,
    attributes: nfs.Sattr3 = {},
    credential = ROOT,
    directory = this.root,
  ): Promise<nfs.MakeResult> {
    const how = { mode: nfs.CreateMode.GUARDED, attributes } as const;
    return this.call(nfs.CREATE, { where: this.at(name, directory), how }, credential);
  }

  write(
    file: nfs.FileHandle,
    offset: number,
    data: Uint8Array | string,
    stable: nfs.StableHow = nfs.StableHow.UNSTABLE,
    credential = ROOT,
  ): Promise<nfs.WriteResult> {
    return this.call(nfs.WRITE, { file, offset, stable, data: Buffer.from(data) }, credential);
  }

  read(file: nfs.FileHandle, offset: number, count: number, credential = ROOT): Promise<nfs.ReadResult> {
    return this.call(nfs.READ, { file, offset, count }, credential);
  }

  async text(file: nfs.FileHandle): Promise<string> {
    return Buffer.from(ok(await this.read(file, 0, 65536)).data).toString();
  }

  /** A whole directory by READDIR, reply by reply, "." and ".." left out. */
  list(directory = this.root, count = 4096): AsyncGenerator<nfs.DirectoryEntry> {
    return listed((from) => this.call(nfs.READDIR, { directory, ...from, count }));
  }

  /** The same by READDIRPLUS. */
  listPlus(directory = this.root, maxcount = 8192): AsyncGenerator<nfs.DirectoryEntryPlus> {
    return listed((from) => this.call(nfs.READDIRPLUS, { directory, ...from, dircount: maxcount, maxcount }));
  }
}

interface Page<Entry> {
  readonly cookieVerifier: Buffer;
  readonly entries: readonly Entry[];
  readonly eof: boolean;
}

/** The entries of all replies, each asked for from where the last one ended. */
async function* listed<Entry extends nfs.DirectoryEntry>(
  ask: (from: {
    cookie: bigint;
    cookieVerifier: Buffer;
  }) => Promise<
    ({ readonly status: typeof nfs.Status.OK } & Page<Entry>) | { readonly status: nfs.ErrorStatus }
  >,
): AsyncGenerator<Entry> {
  let from = { cookie: 0n, cookieVerifier: Buffer.alloc(8) as Buffer };
  for (;;) {
    const reply = ok(await ask(from));
    for (const entry of reply.entries) if (!isDot(entry)) yield entry;
    const last = reply.entries.at(-1);
    if (reply.eof || last === undefined) return;
    from = { cookie: last.cookie, cookieVerifier: reply.cookieVerifier };
  }
}

function isDot(entry: nfs.DirectoryEntry): boolean {
  return nfs.isDots(entry.name);
}

/** A server, mounted; all of it ends with the test. */
export async function rig(
  t: Test,
  options: Partial<EmbeddedServerOptions> = {},
  folder = scratch(t),
  connection: { readonly resvport?: boolean } = {},
): Promise<Rig> {
  const server = await EmbeddedServer.start({ path: folder, ...options });
  const client = await RpcClient.connect({ host: '127.0.0.1', port: server.port, ...connection });
  t.teardown(async () => {
    client.close();
    await server.close();
  });
  const made = new Rig(server, folder, client, server.rootHandle);
  made.root = await made.mount();
  return made;
}

/** The type of a result whose status is OK; a type that looks the same either way stays as it is. */
type Succeeded<R, Ok = Extract<R, { status: typeof nfs.Status.OK }>> = [Ok] extends [never] ? R : Ok;

/** The result of a call that must have succeeded. */
export function ok<R extends { readonly status: nfs.Status }>(result: R): Succeeded<R> {
  if (result.status !== nfs.Status.OK) throw new Error(`answered ${nfs.statusName(result.status)}`);
  return result as Succeeded<R>;
}

/** "NFS3ERR_NOENT", for comparing. */
export async function statusOf(result: Promise<{ readonly status: number }>): Promise<string> {
  return nfs.statusName((await result).status);
}

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** The handle of what was made. */
export function made(result: nfs.MakeResult): nfs.FileHandle {
  const { object } = ok(result);
  if (object === undefined) throw new Error('the server gave no handle');
  return object;
}

/** Whether this process, the server's, has the file open. */
export function isOpenHere(path: string): boolean {
  return readdirSync('/proc/self/fd').some((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      return false;
    }
  });
}
