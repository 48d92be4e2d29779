/** The FUSE side's public face: mount, serve, and the contract between the two. */

export type { FuseCapabilities } from './contract/capabilities.js';
export { decodeDevice, encodeDevice } from './contract/device-number.js';
export { Errno, errnoName, FuseError } from './contract/errno.js';
export * from './contract/operations.js';
export { InitFlag, OpenFlag } from './contract/protocol.js';
export { ThreadIntents } from './intent/creation-intents.js';
export { abortConnection, isServedBy, setReadAhead } from './mount/connection.js';
export { findFusermount } from './mount/fusermount.js';
export { checkConnected, checkInherited, connectionNumber, inheritedDescriptor } from './mount/inherited.js';
export {
  adoptMount,
  type KernelMount,
  listMounts,
  type MadeMount,
  type MountOptions,
  mountKernel,
} from './mount/mount.js';
export {
  allowOtherError,
  deviceError,
  MountError,
  type MountErrorCode,
  mountCallError,
  noFusermountError,
  noNewPrivilegesError,
  notSetuidError,
} from './mount/mount-error.js';
export { type FlagWishes, flagsOf, KERNEL_FLAGS, type KernelFlag, withWishes } from './mount/mount-flags.js';
export {
  FILE_SYSTEM_TYPE,
  type MountEntry,
  mountAt,
  parseMountinfo,
  readMountinfo,
} from './mount/mountinfo.js';
export { checkPinned, landedOn, pinMountpoint } from './mount/mountpoint.js';
export { PinnedDirectory } from './mount/pinned-directory.js';
export {
  askMount,
  type FileSystemUsage,
  type MountAnswer,
  type MountState,
  realpathWithin,
  usageWithin,
} from './mount/probe.js';
export { remountKernel } from './mount/remount.js';
export { mayMount, type Rights, readRights } from './mount/rights.js';
export { type LabelOption, labelNames, type SecurityLabels } from './mount/security-labels.js';
export { type MountMethod, type UnmountOptions, unmountEntry, unmountKernel } from './mount/unmount.js';
export type { Channel, ChannelHandler, SessionEnd } from './session/channel/channel.js';
export type { SessionTimers } from './session/interrupts.js';
export type { ConnectionOptions } from './session/negotiate.js';
export { FuseSession } from './session/session.js';
export type { SessionCounters } from './session/session-counters.js';
export type { DetachOptions, HandedOver, SessionOptions } from './session/session-options.js';
export { type CallerFate, StandIn } from './stand-in/stand-in.js';
export { PollFlag, pollNow, receiveDescriptor, sendDescriptor } from './system-calls.js';
export { type TrialMount, trialMount } from './trial/trial.js';
