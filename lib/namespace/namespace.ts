/**
 * A user and mount namespace of our own, for users who may not mount in theirs. unshare(2) makes a user namespace only for a
 * process with a single thread, and Node always has several. So this process becomes the program unshare(1), which becomes
 * `nfs-fuse exec` again, all with one process id.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { ownProgram } from '../base/own-program.js';
import { UserError } from '../base/user-error.js';
import { mayMount } from '../fuse/index.js';
import { environmentInUtf8 } from './environment.js';
import { replaceProcess } from './namespace-calls.js';

/** This variable is set within the namespace. Its value lists the groups outside, which have no names inside. */
const MARK = 'NFS_FUSE_EXEC_NAMESPACE';
const GROUPS = 'groups:';
/** Mounts come and go inside as they do outside. A copy that stayed would keep a mount of somebody else from ending. */
const FOLLOWING = ['--propagation', 'slave'];
const AS_ROOT = ['-U', '-r', '-m', ...FOLLOWING];
const AS_CALLER = ['--user', '--map-current-user', '--keep-caps', '--mount', ...FOLLOWING];

/** Whether this process runs in a namespace that was made for it. */
export function isInOwnNamespace(): boolean {
  return process.env[MARK] !== undefined;
}

/** The supplementary groups that this process's user has outside of the namespace that was made for it. */
export function groupsOutside(): readonly number[] {
  const mark = process.env[MARK] ?? '';
  return mark.startsWith(GROUPS) ? mark.slice(GROUPS.length).split(',').filter(Boolean).map(Number) : [];
}

/** The environment for the command: without our own variable, and without variables that are not UTF-8. */
export function commandEnvironment(): NodeJS.ProcessEnv {
  const { [MARK]: _, ...environment } = environmentInUtf8();
  return environment;
}

/** Whether a namespace of our own can be made: with which program, or why not, as a clause. */
export type NamespaceTrial =
  | { readonly possible: true; readonly unshare: string; readonly flags: readonly string[] }
  | { readonly possible: false; readonly why: string };

/** Makes a namespace for a moment, to see whether that works. */
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

/** The remedy for a user who may not mount; with the hint that exec works without the right, if `trial` shows that. */
export function withWayOut(remedy: string | undefined, trial: NamespaceTrial): string | undefined {
  if (!trial.possible) return remedy;
  return remedy === undefined ? WAY_OUT : `${remedy} ${WAY_OUT}`;
}

/**
 * Goes on in a namespace of our own if this process may not mount, or if it shall be root there. Then this call does not
 * return. It returns if no namespace is needed, or after a warning if none can be made.
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
  const argv = [unshare, ...flags, ...ownProgram(), ...process.argv.slice(2)];
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

/** Whether unshare can keep the caller's user: util-linux can since 2.36, busybox cannot. */
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
      // It is not in this folder.
    }
  }
  return undefined;
}
