/**
 * A helper program that has mounted, holds the descriptor of /dev/fuse, and starts nfs-fuse with it as often as it is told to.
 */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { publicFolder } from '../../support/folders.js';
import { openPlace } from '../../support/places.js';
import { run, start, until } from '../../support/process.js';
import { servedFolder } from '../../support/served-folder.js';
import { untilEnd } from '../../support/until-end.js';
import { endKeepers } from '../../support/watchers.js';

/** `serve` starts nfs-fuse with these further arguments. Answers the process. */
export async function armed(t: Test) {
  const { server, served, mnt } = await servedFolder(t);
  const place = untilEnd(t, await openPlace('root'));
  const scratch = untilEnd(t, publicFolder());
  const state = join(scratch.path, 'state');
  chmodSync(served, 0o777);
  const options = 'rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,nosuid,nodev';
  const arm = `mount -i -t fuse.nfs-fuse -o fd=8,${options} 127.0.0.1:/export ${mnt}`;
  const product = place.product.join(' ');
  const ports = `port=${server.port},mountport=${server.port},nolock`;
  const script = [
    `exec 8<>/dev/fuse && ${arm} && echo armed`,
    'while read -r more; do',
    `  XDG_RUNTIME_DIR=${place.folder} ${product} mount -f -o ${ports} $more 127.0.0.1:/export /dev/fd/8 2>&1 &`,
    '  echo "started $!"',
    'done',
  ].join('\n');
  const helper = untilEnd(t, start(['sh', '-c', script], { stdio: ['pipe', 'pipe', 'pipe'] }));
  t.teardown(() => run(['umount', '-l', mnt]));
  const says = (what: RegExp) =>
    until(`the helper says ${what}`, () => {
      if (helper.outcome !== undefined) throw new Error(helper.output);
      return what.test(helper.output);
    }).catch((error: unknown) => {
      throw new Error(helper.output, { cause: error });
    });
  await says(/^armed$/m);
  let starts = 0;
  const serve = async (more: string): Promise<number> => {
    starts += 1;
    helper.child.stdin?.write(`${more}\n`);
    await until('it is started', () => helper.output.split('started ').length > starts);
    return Number.parseInt(helper.output.split('started ')[starts] ?? '', 10);
  };
  return { helper, server, served, mnt, state, scratch, serve, says };
}

/** Ends a process and its keeper, so that nobody goes on by himself. */
export const killed = (pid: number) => {
  process.kill(pid, 'SIGSTOP');
  endKeepers('/dev/fd/8');
  process.kill(pid, 'SIGKILL');
};
