/** Sorts failures of mounting and unmounting by what their caller can do about them. */
import { MountError } from '../../fuse/index.js';
import { MountRefused, MountStatus } from '../../programs/mount3/index.js';
import { causes } from './explainer.js';
import { isTemporary } from './mount-failure.js';
import { type FailureKind, ToldFailure } from './told-failure.js';

/** The kind of any error. */
export function kindOfFailure(error: unknown): FailureKind {
  for (const cause of causes(error)) {
    if (cause instanceof ToldFailure) return cause.kind;
    if (cause instanceof MountRefused) return kindOfRefusal(cause);
    if (cause instanceof MountError && cause.code === 'busy') return 'busy';
  }
  return isTemporary(error) ? 'temporary' : 'other';
}

function kindOfRefusal({ status }: MountRefused): FailureKind {
  if (status === MountStatus.NOENT || status === MountStatus.NOTDIR) return 'missing';
  return status === MountStatus.ACCES || status === MountStatus.PERM ? 'denied' : 'other';
}
