/** A folder that an embedded server of this process exports, with an empty mount point beside it. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { EmbeddedServer } from '../../lib/server/index.js';
import { publicFolder } from './folders.js';
import { run } from './process.js';

export interface ServedFolder {
  readonly server: EmbeddedServer;
  /** The folder of the two others. */
  readonly folder: string;
  readonly served: string;
  readonly mnt: string;
  /** `port=…,mountport=…` */
  readonly options: string;
}

/** All of it ends with the test; `unmount` runs first, and leaves nothing mounted on `mnt`. */
export async function servedFolder(
  t: Test,
  unmount: (mnt: string) => Promise<unknown> = (mnt) => run(['umount', '-l', mnt]),
): Promise<ServedFolder> {
  const scratch = publicFolder();
  const served = join(scratch.path, 'served');
  const mnt = join(scratch.path, 'mnt');
  mkdirSync(served);
  mkdirSync(mnt);
  const server = await EmbeddedServer.start({ path: served });
  t.teardown(async () => {
    await unmount(mnt);
    await server.close();
    await scratch.remove();
  });
  const options = `port=${server.port},mountport=${server.port},nlmport=${server.port}`;
  return { server, folder: scratch.path, served, mnt, options };
}

/** The names of the procedures that the server is asked for from now on: "MNT", "UMNT". */
export function namesOfCalls(server: EmbeddedServer): readonly string[] {
  const names: string[] = [];
  const { rpc } = server;
  if (rpc === undefined) throw new Error('the server does not listen');
  const before = ({ name }: { readonly name: string }) => {
    names.push(name);
    return undefined;
  };
  rpc.hooks = { ...rpc.hooks, before };
  return names;
}
