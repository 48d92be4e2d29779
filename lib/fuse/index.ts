/** The FUSE side's public face: mount, serve, and the contract between the two. */
export type { Channel, ChannelHandler, SessionEnd } from './channel.js';
export { abortConnection, isServedBy, setReadAhead } from './connection.js';
export { Errno, errnoName, FuseError } from './errno.js';
export { findFusermount } from './fusermount.js';
export { checkInherited, connectionNumber, inheritedDescriptor } from './inherited.js';
export type { SessionTimers } from './interrupts.js';
export { type KernelMount, listMounts, type MountOptions, mountKernel } from './mount.js';
export {
  allowOtherError,
  deviceError,
  MountError,
  type MountErrorCode,
  mountCallError,
  noFusermountError,
  noNewPrivilegesError,
  notSetuidError,
} from './mount-error.js';
export { type FlagWishes, flagsOf, KERNEL_FLAGS, type KernelFlag, withWishes } from './mount-flags.js';
export { FILE_SYSTEM_TYPE, type MountEntry, mountAt, parseMountinfo, readMountinfo } from './mountinfo.js';
export { checkPinned, landedOn, pinMountpoint } from './mountpoint.js';
export type { ConnectionOptions } from './negotiate.js';
export * from './operations.js';
export { PinnedDirectory } from './pinned-directory.js';
export { askMount, type MountAnswer, type MountState, realpathWithin } from './probe.js';
export { InitFlag, OpenFlag } from './protocol.js';
export { remountKernel } from './remount.js';
export { decodeDevice, encodeDevice } from './reply.js';
export { mayMount, type Rights, readRights } from './rights.js';
export { FuseSession, type SessionCounters, type SessionOptions } from './session.js';
export { type TrialMount, trialMount } from './trial.js';
export { type MountMethod, type UnmountOptions, unmountEntry, unmountKernel } from './unmount.js';
