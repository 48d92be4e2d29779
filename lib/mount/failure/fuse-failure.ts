/** Explains errors of mounting and unmounting with FUSE. */
import { UserError } from '../../base/user-error.js';
import { MountError, type MountErrorCode } from '../../fuse/index.js';
import { tryNamespace, withWayOut } from '../../namespace/namespace.js';
import { type Explainer, sentence } from './explainer.js';

/** Remedies where lib/fuse does not give one. */
const FUSE_REMEDIES: Partial<Record<MountErrorCode, string>> = {
  'mountpoint-not-directory': 'Mount on an existing directory.',
  'mountpoint-refused': 'Mount on a directory that this user may enter.',
  'already-mounted': 'Use it as it is, or unmount it first with "nfs-fuse umount".',
};

/** Errors that mean that this user has no right to mount. */
const WITHOUT_RIGHTS: ReadonlySet<MountErrorCode> = new Set([
  'refused',
  'no-fusermount',
  'fusermount-not-setuid',
]);

/** Explains a mount that did not come about. */
export const explainFuse: Explainer = (error) => {
  if (!(error instanceof MountError)) return undefined;
  const failure = explain(error);
  return WITHOUT_RIGHTS.has(error.code) ? withoutRights(failure) : failure;
};

/** Adds to the remedy what works without the right to mount, if it works here. */
function withoutRights({ message, remedy, cause }: UserError): UserError {
  return new UserError(message, { remedy: withWayOut(remedy, tryNamespace()), cause });
}

/** Explains an error of lib/fuse; other errors stay what they are. `busyRemedy`: the remedy for a mount that is in use. */
export function fuseFailure(error: unknown, busyRemedy?: string): unknown {
  return error instanceof MountError ? explain(error, busyRemedy) : error;
}

function explain(error: MountError, busyRemedy?: string): UserError {
  const { remedy, message, code } = error;
  const what = remedy === undefined ? message : message.slice(0, -`; ${remedy}`.length);
  const advice = code === 'busy' && busyRemedy !== undefined ? busyRemedy : (remedy ?? FUSE_REMEDIES[code]);
  return new UserError(sentence(what), {
    remedy: advice === undefined ? undefined : sentence(advice),
    cause: error,
  });
}
