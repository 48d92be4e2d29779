/** Checks this machine, container and user: /dev/fuse, the right to mount, the kernel's protocol. */
import { closeSync, constants, openSync, readFileSync, statSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { release } from 'node:os';
import { delimiter, join } from 'node:path';
import { decodeDevice } from '../fuse/contract/device-number.js';
import {
  allowOtherError,
  deviceError,
  findFusermount,
  mountCallError,
  noFusermountError,
  noNewPrivilegesError,
  notSetuidError,
  type Rights,
  readRights,
  type TrialMount,
  trialMount,
} from '../fuse/index.js';
import { fuseFailure } from '../mount/failure/fuse-failure.js';
import { type NamespaceTrial, tryNamespace, withWayOut } from '../namespace/namespace.js';
import { callersHere } from './callers.js';
import { securityHint } from './security-profile.js';
import { failure, failureOf, ok, type Step, type Verdict, warning } from './step.js';

const DEVICE = '/dev/fuse';
/** Documentation/admin-guide/devices.txt of the kernel. */
const DEVICE_MAJOR = 10;
const DEVICE_MINOR = 229;
const FUSE_CONF = '/etc/fuse.conf';
/** The first kernel with FUSE 7.31. */
const OLDEST_KERNEL = [5, 4] as const;

export interface EnvironmentOptions {
  readonly allowOther: boolean;
  /** groups= */
  readonly unseenGroups?: readonly number[] | undefined;
  /** The time for a trial in another process. */
  readonly timeoutMs: number;
}

export function environmentSteps(options: EnvironmentOptions): Step[] {
  const rights = readRights();
  // Mounting makes the same choice: root always mounts directly.
  const direct = rights.mayMount || process.geteuid?.() === 0;
  let trial: Promise<TrialMount> | undefined;
  const tryIt = () => {
    trial ??= trialMount({ inUserNamespace: !direct, timeoutMs: options.timeoutMs });
    return trial;
  };
  let ownNamespace: NamespaceTrial | undefined;
  const namespace = () => {
    ownNamespace ??= tryNamespace();
    return ownNamespace;
  };
  const steps: Step[] = [
    { name: DEVICE, examine: device },
    {
      name: 'right to mount',
      async examine() {
        const verdict = direct ? capability(rights) : await helper(rights);
        if (verdict.result !== 'failure') return verdict;
        return { ...verdict, remedy: withWayOut(verdict.remedy, namespace()) };
      },
    },
    { name: 'user namespace', examine: () => namespaceVerdict(namespace(), rights.mayMount) },
  ];
  if (options.allowOther)
    steps.push({ name: 'allow_other', examine: () => (direct ? ok('this user may use it') : fuseConf()) });
  steps.push({
    name: 'callers',
    examine: () => callersHere(options.allowOther, options.unseenGroups ?? []),
  });
  if (direct)
    steps.push({
      name: 'mount(2)',
      needs: [DEVICE, 'right to mount'],
      examine: async () => mountVerdict(await tryIt(), rights),
    });
  const needs = direct ? ['mount(2)'] : [DEVICE];
  steps.push(
    { name: 'FUSE protocol', needs, examine: async () => protocolVerdict(await tryIt()) },
    { name: 'read-ahead', needs, examine: async () => readAhead(await tryIt(), direct) },
    { name: 'mount(8)', examine: mountProgram },
  );
  return steps;
}

/** fusermount3 opens the device as the user for whom it mounts, so this user must be able to open it. */
function device(): Verdict {
  const problem = (code: string | undefined) => failureOf(fuseFailure(deviceError(code)));
  let mode: number;
  try {
    const found = statSync(DEVICE);
    const { major, minor } = decodeDevice(found.rdev);
    if (!found.isCharacterDevice() || major !== DEVICE_MAJOR || minor !== DEVICE_MINOR)
      return failure(`${DEVICE} is there, but is not the FUSE device.`, problem('ENOENT').remedy);
    mode = found.mode & 0o777;
  } catch (error) {
    return problem((error as NodeJS.ErrnoException).code);
  }
  const octal = `mode ${mode.toString(8).padStart(4, '0')}`;
  try {
    closeSync(openSync(DEVICE, constants.O_RDWR | constants.O_NONBLOCK));
  } catch (error) {
    return problem((error as NodeJS.ErrnoException).code);
  }
  const everybody = (mode & 0o006) === 0o006;
  return ok(`can be opened by ${everybody ? 'everybody' : 'this user, but not by everybody'} (${octal})`);
}

function capability(rights: Rights): Verdict {
  if (!rights.mayMount) {
    const { remedy } = failureOf(fuseFailure(mountCallError('EPERM', '/')));
    return failure('This user is root, but without the capability SYS_ADMIN.', remedy);
  }
  const where = rights.initialUserNamespace ? "the machine's" : 'a';
  return ok(`CAP_SYS_ADMIN in ${where} user namespace: mount(2) can be called directly`);
}

async function helper(rights: Rights): Promise<Verdict> {
  const found = await findFusermount();
  if (found === undefined) return failureOf(fuseFailure(noFusermountError()));
  const { path, setuid } = found;
  if (!setuid) return failureOf(fuseFailure(notSetuidError(path)));
  if (rights.noNewPrivileges) return failureOf(fuseFailure(noNewPrivilegesError(path)));
  if (!rights.setuidMayMount)
    return failure(
      `${path} is setuid root, but not even root has the capability SYS_ADMIN here.`,
      failureOf(fuseFailure(mountCallError('EPERM', '/'))).remedy,
    );
  return ok(`${path} is setuid root and mounts for this user`);
}

/** Whether `nfs-fuse exec` can make a user namespace of its own. */
export function namespaceVerdict(trial: NamespaceTrial, mayMount: boolean): Verdict {
  if (trial.possible) return ok('one of its own can be made: nfs-fuse exec needs no right to mount');
  if (mayMount) return ok(`none of its own can be made (${trial.why}), which nothing needs here`);
  return warning(
    `None of its own can be made, as nfs-fuse exec would need it: ${trial.why}.`,
    'Allow it where it is forbidden (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone or ' +
      'kernel.apparmor_restrict_unprivileged_userns; --security-opt seccomp=unconfined), or get the right to mount.',
  );
}

function fuseConf(): Verdict {
  try {
    if (/^\s*user_allow_other\s*(#.*)?$/m.test(readFileSync(FUSE_CONF, 'utf8')))
      return ok(`${FUSE_CONF} lets every user use it (user_allow_other)`);
  } catch {
    // The file is missing or not readable: fusermount3 treats it as empty.
  }
  return failureOf(fuseFailure(allowOtherError()));
}

/** The result of a trial of mount(2). */
export function mountVerdict(trial: TrialMount, rights: Rights): Verdict {
  if (trial.outcome === 'mounted') return ok('tried, out of sight, and permitted');
  const hint = securityHint(rights);
  if (trial.outcome === 'untried')
    return warning(
      `Could not be tried without leaving a trace (${trial.errno}); mounting itself may work all the same.`,
      hint ?? 'Try it: nfs-fuse mount says what is missing.',
    );
  const { message, remedy } = failureOf(fuseFailure(mountCallError(trial.errno, 'a directory')));
  const refused = trial.errno === 'EPERM' || trial.errno === 'EACCES';
  return failure(message, refused && hint !== undefined ? hint : remedy);
}

/** If mounting could not be tried, the kernel's version decides. */
export function protocolVerdict(trial: TrialMount, kernel = release()): Verdict {
  if (trial.outcome === 'mounted')
    return trial.spoken ? ok(`FUSE ${trial.protocol}, Linux ${kernel}`) : tooOld(`FUSE ${trial.protocol}`);
  const [major = 0, minor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10));
  const old = major < OLDEST_KERNEL[0] || (major === OLDEST_KERNEL[0] && minor < OLDEST_KERNEL[1]);
  return old ? tooOld(`Linux ${kernel}`) : ok(`Linux ${kernel} is new enough`);
}

function tooOld(what: string): Verdict {
  return failure(
    `${what} is too old: the protocol must be 7.31 or newer.`,
    'Linux 5.4 has it: use a newer kernel, or --transport fuse-native.',
  );
}

/** A small read-ahead only makes reading slower, so this is never a warning. */
function readAhead(trial: TrialMount, direct: boolean): Verdict {
  if (direct && trial.outcome === 'mounted' && trial.readAheadWritable)
    return ok('the kernel lets it be raised: sequential reads are fast');
  return ok("stays at the kernel's 128 KiB, which only the machine's root may raise");
}

async function mountProgram(): Promise<Verdict> {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/bin', '/bin'].filter(Boolean);
  for (const folder of new Set(folders)) {
    const path = join(folder, 'mount');
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return ok(`${path}, for fstab and "mount -t fuse.nfs-fuse"`);
  }
  return ok('not installed; only fstab and "mount -t fuse.nfs-fuse" would need it');
}
