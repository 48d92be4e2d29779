/**
 * A mount as an object with a life, for any front end: start it, ask it, end it. Nothing here ends the process, writes to
 * its standard streams, or listens for its signals; a process that serves one mount for itself finds that in process/.
 */
export type { ListExports } from './failure/explainer.js';
export { mountFailure } from './failure/mount-failure.js';
export type { Unwritten } from './failure/unwritten.js';
export type { SharedLogFile, WatcherOptions } from './keep/shell-process.js';
export { type FuseMountOptions, type MountRequest, parseMountRequest } from './options/mount-options.js';
export { MountJournal } from './reach/journal.js';
export type { MountOutcome } from './reach/link-protocol.js';
export { locate } from './reach/mount-place.js';
export type { KernelTransport } from './serve/kernel-transport.js';
export type { MountStatistics, RunningMount } from './serve/running-mount.js';
export type { FrontEndHints, MountSettings } from './serve/settings.js';
export { startMount } from './serve/start.js';
