/** Capabilities of volumes as callers ask for them: which can be had, and the mount options that they mean. */
import { splitOptionList } from '../../mount/options/option-list.js';
import { CsiError, reading } from '../wire/csi-error.js';
import { AccessModes, type VolumeCapability } from '../wire/csi-messages.js';

/** Options of the command, which have no meaning for a volume. */
const OF_THE_COMMAND: Readonly<Record<string, string>> = {
  bg: 'The kubelet tries again by itself.',
  remount: 'Change the volume, and start its pods anew.',
  debug: 'Use "nfs-fuse mount -f --debug=fuse" to look at requests.',
};

/** Options that give programs and device nodes of the server power over this machine. */
const FOR_THE_NODE = ['suid', 'dev', 'allow_suid', 'allow_dev'];

/** @throws CsiError INVALID_ARGUMENT unless there are capabilities, and all of them can be had */
export function checkCapabilities(capabilities: readonly (VolumeCapability | null)[]): void {
  if (capabilities.length === 0) throw missing();
  for (const capability of capabilities) checkCapability(capability);
}

/** The capability itself. @throws CsiError INVALID_ARGUMENT if it cannot be had */
export function checkCapability(capability: VolumeCapability | null): VolumeCapability {
  if (capability === null) throw missing();
  const { block, mount, access_mode: access } = capability;
  if (block !== null)
    throw new CsiError('INVALID_ARGUMENT', 'A block volume is not possible: NFS has files.', {
      remedy: 'Write volumeMode: Filesystem.',
    });
  if (mount === null)
    throw new CsiError('INVALID_ARGUMENT', 'The capability says nothing of how it is accessed.');
  const mode = access?.mode ?? 0;
  if (mode < 1 || mode > AccessModes.HIGHEST)
    throw new CsiError('INVALID_ARGUMENT', `The access mode ${mode} is unknown.`);
  checkOptions(mount.mount_flags);
  return capability;
}

/** The texts of -o of a capability. */
export function optionsOf(capability: VolumeCapability | undefined): readonly string[] {
  return capability?.mount?.mount_flags ?? [];
}

/** Whether nobody may write by this capability. */
export function isReadOnly({ access_mode: access }: VolumeCapability): boolean {
  const mode: number | undefined = access?.mode;
  return mode === AccessModes.SINGLE_NODE_READER_ONLY || mode === AccessModes.MULTI_NODE_READER_ONLY;
}

/**
 * Options of a volume, which whoever writes a pod may choose.
 * @throws CsiError INVALID_ARGUMENT for those that are not for volumes
 */
export function checkOptions(texts: readonly string[]): void {
  // Options for other programs (x-…) are not read any further, but they are arguments of a process.
  if (texts.some((text) => text.includes('\0')))
    throw new CsiError('INVALID_ARGUMENT', 'The mount options have a NUL character in them.', {
      remedy: 'Leave it out.',
    });
  checkDefaults(texts);
  const [forbidden] = namesIn(texts).filter((name) => FOR_THE_NODE.includes(name));
  if (forbidden === undefined) return;
  throw new CsiError('INVALID_ARGUMENT', `A volume cannot have the mount option "${forbidden}".`, {
    remedy: 'Give it to "nfs-fuse csi" (-o), for all volumes of the node, or leave it out.',
  });
}

/**
 * Options for all volumes, which whoever starts the driver chooses.
 * @throws CsiError INVALID_ARGUMENT for those that are not for volumes
 */
export function checkDefaults(texts: readonly string[]): void {
  for (const name of namesIn(texts)) {
    const instead = Object.hasOwn(OF_THE_COMMAND, name) ? OF_THE_COMMAND[name] : undefined;
    if (instead !== undefined)
      throw new CsiError('INVALID_ARGUMENT', `The mount option "${name}" is not for volumes.`, {
        remedy: instead,
      });
  }
}

function namesIn(texts: readonly string[]): string[] {
  return reading(() => texts.flatMap(splitOptionList)).map(({ name }) => name);
}

function missing(): CsiError {
  return new CsiError('INVALID_ARGUMENT', 'The request has no capability of the volume.');
}
