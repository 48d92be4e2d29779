/**
 * A rootless container's view: a user and mount namespace in which the ids 0 to 65535 exist and stand for others
 * outside, as podman and docker make them from /etc/subuid. Its root may change owners and become other users.
 */
import { chownSync, mkdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { publicFolder } from './folders.js';
import { type Place, withoutFuse } from './places.js';
import { start, until } from './process.js';
import { changeMode } from './registry.js';
import { productFor } from './stage.js';

/** The id outside that the namespace's 0 stands for. */
const FIRST = 300_000;
const COUNT = 65_536;

export interface IdRangePlace extends Place {
  /** `argv` as run by another user of the host, who only shares the mounts: not within the user namespace. */
  outside(argv: readonly string[]): string[];
}

export async function openIdRangePlace(): Promise<IdRangePlace> {
  const scratch = publicFolder();
  const folder = join(scratch.path, 'home');
  mkdirSync(folder, { mode: 0o755 });
  chownSync(folder, FIRST, FIRST);
  const restore = changeMode('/dev/fuse', 0o666);
  const product = await productFor(FIRST);
  const holder = start([
    ...withoutFuse,
    'unshare',
    '-U',
    '-m',
    '--propagation',
    'private',
    'sleep',
    'infinity',
  ]);
  const namespaceOf = (pid: number | string) => readlinkSync(`/proc/${pid}/ns/user`);
  await until('the user namespace is there', () => {
    if (holder.outcome) throw new Error(`unshare failed: ${holder.output}`);
    return namespaceOf(holder.pid) !== namespaceOf('self');
  });
  for (const map of ['uid_map', 'gid_map']) {
    writeFileSync(`/proc/${holder.pid}/${map}`, `0 ${FIRST} ${COUNT}\n`);
  }
  const unset = ['XDG_RUNTIME_DIR', 'TMPDIR', 'NODE_OPTIONS'].flatMap((name) => ['-u', name]);
  const environment = ['env', ...unset, `HOME=${folder}`];
  return {
    name: 'userns',
    owner: { uid: FIRST, gid: FIRST },
    privileged: true,
    folder,
    product,
    namespacePid: holder.pid,
    // nsenter becomes the namespace's root, without groups.
    command: (argv) => [...environment, 'nsenter', '-t', String(holder.pid), '-U', '-m', ...argv],
    outside: (argv) => [...environment, 'nsenter', '-t', String(holder.pid), '-m', ...argv],
    async close() {
      await holder.stop();
      restore();
      await scratch.remove();
    },
  };
}
