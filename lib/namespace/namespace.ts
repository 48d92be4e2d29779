/**
 * A user and mount namespace of our own, for who may not mount where they are. unshare(2) makes a user namespace only
 * for a process with a single thread, which a Node process never is, so the program unshare(1) does it: this process
 * becomes it, and it becomes `nfs-fuse exec` again, all with one process id.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { UserError } from '../base/user-error.js';
import { mayMount } from '../fuse/index.js';
import { environmentInUtf8 } from './environment.js';
import { replaceProcess } from './namespace-calls.js';

/** Set within the namespace; the value names the groups that cannot be named there. */
const MARK = 'NFS_FUSE_EXEC_NAMESPACE';
const GROUPS = 'groups:';
const AS_ROOT = ['-U', '-r', '-m'];
const AS_CALLER = ['--user', '--map-current-user', '--keep-caps', '--mount'];

/** Whether this process is in a namespace that was made for it. */
export function isInOwnNamespace(): boolean {
  return process.env[MARK] !== undefined;
}

/** The supplementary groups that whoever is in the namespace made for this process has outside of it. */
export function groupsOutside(): readonly number[] {
  const mark = process.env[MARK] ?? '';
  return mark.startsWith(GROUPS) ? mark.slice(GROUPS.length).split(',').filter(Boolean).map(Number) : [];
}

/** The environment without what only we need, and without what is not UTF-8. */
export function commandEnvironment(): NodeJS.ProcessEnv {
  const { [MARK]: _, ...environment } = environmentInUtf8();
  return environment;
}

/** Whether a namespace of our own can be made, and by which command; or why not, as a clause. */
export type NamespaceTrial =
  | { readonly possible: true; readonly unshare: string; readonly flags: readonly string[] }
  | { readonly possible: false; readonly why: string };

/** Makes one, for nothing, and sees how that goes. */
export function tryNamespace(asRoot = false): NamespaceTrial {
  const unshare = findProgram('unshare');
  if (unshare === undefined)
    return { possible: false, why: 'the program unshare (package util-linux) is missing' };
  const flags = asRoot || !knowsCaller(unshare) ? AS_ROOT : AS_CALLER;
  const { status, stderr } = spawnSync(unshare, [...flags, process.execPath, '--version'], {
    encoding: 'utf8',
  });
  if (status === 0) return { possible: true, unshare, flags };
  const said = (stderr ?? '').trim().split('\n')[0] ?? '';
  return { possible: false, why: said === '' ? 'unshare failed' : said };
}

const WAY_OUT = 'For one program there is "nfs-fuse exec", which needs no right to mount, only /dev/fuse.';

/** The remedy for who may not mount, and what works without the right, if `trial` says that it does. */
export function withWayOut(remedy: string | undefined, trial: NamespaceTrial): string | undefined {
  if (!trial.possible) return remedy;
  return remedy === undefined ? WAY_OUT : `${remedy} ${WAY_OUT}`;
}

/**
 * Goes on in a namespace of our own if this process may not mount, or if it is to be root there. Returns where none is
 * needed, or where none can be made; `warn` is told of the latter.
 */
export function enterNamespace(asRoot: boolean, warn: (message: string) => void): void {
  if (isInOwnNamespace() || (mayMount() && !asRoot)) return;
  const trial = tryNamespace(asRoot);
  if (!trial.possible) {
    warn(`No namespace of its own can be made: ${trial.why}.${rootWithoutCapabilities()}`);
    return;
  }
  const { unshare, flags } = trial;
  if (!asRoot && flags === AS_ROOT)
    warn(
      'This unshare cannot keep the user: the command runs as root of its namespace, also for the server.',
    );
  const argv = [unshare, ...flags, process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const errno = replaceProcess(unshare, argv, {
    ...environmentInUtf8(),
    [MARK]: `${GROUPS}${(process.getgroups?.() ?? []).join(',')}`,
  });
  throw new UserError(`${unshare} could not be started (error ${errno}).`);
}

/** The kernel lets root map itself into a namespace only with the capability SETFCAP (user_namespaces(7), since 5.12). */
function rootWithoutCapabilities(): string {
  return process.geteuid?.() === 0
    ? ' Root needs the capability SETFCAP for it (--cap-add SETFCAP), or SYS_ADMIN to mount without one.'
    : '';
}

/** util-linux can since 2.36, busybox cannot. */
function knowsCaller(unshare: string): boolean {
  const { stdout } = spawnSync(unshare, ['--help'], { encoding: 'utf8' });
  return ['--map-current-user', '--keep-caps'].every((option) => stdout?.includes(option));
}

function findProgram(name: string): string | undefined {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), '/usr/bin', '/bin']) {
    const path = join(folder, name);
    try {
      if (folder === '') continue;
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here.
    }
  }
  return undefined;
}
