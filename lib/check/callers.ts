/** Checks whether the groups of callers can be read: /proc shows only its own PID namespace, and hidepid= hides more. */
import { readFileSync, readlinkSync } from 'node:fs';
import { ok, type Verdict, warning } from './step.js';

/** PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h: the machine's own PID namespace. */
const INITIAL_PID_NAMESPACE = 'pid:[4026531836]';
const REMEDY = 'Name the groups of such callers: -o groups=GID:GID.';

export interface CallersView {
  /** Users other than the one who mounts may use the mount. */
  readonly allowOther: boolean;
  /** groups= */
  readonly unseenGroups: readonly number[];
  /** The target of the link /proc/self/ns/pid. */
  readonly pidNamespace: string;
  /** /proc/self/mountinfo */
  readonly mountinfo: string;
  /** Root sees hidden processes as well. */
  readonly isRoot: boolean;
}

export function callersHere(allowOther: boolean, unseenGroups: readonly number[]): Verdict {
  return callersVerdict({
    allowOther,
    unseenGroups,
    pidNamespace: readlinkSync('/proc/self/ns/pid'),
    mountinfo: readFileSync('/proc/self/mountinfo', 'latin1'),
    isRoot: process.geteuid?.() === 0,
  });
}

export function callersVerdict(view: CallersView): Verdict {
  const { allowOther, unseenGroups, pidNamespace, mountinfo, isRoot } = view;
  if (unseenGroups.length > 0)
    return ok(`groups=${unseenGroups.join(':')} counts for callers whose own groups cannot be read`);
  const hides = /^(?:\S+ ){4}\/proc .* - proc .*\bhidepid=(?!0|off)/m.test(mountinfo);
  if (hides && allowOther && !isRoot)
    return warning(
      '/proc hides the processes of other users (hidepid=): their supplementary groups are not sent to the server.',
      REMEDY,
    );
  if (pidNamespace !== INITIAL_PID_NAMESPACE)
    return ok(
      'groups of callers in this PID namespace can be read; for those outside (sidecars, the host) groups=GID:GID names them',
    );
  return ok('supplementary groups of every caller can be read');
}
