/**
 * Descriptors that this process was started with, beyond the standard streams. Node marks the first sixteen to be closed
 * in programs that it starts, and those above only up to the first gap (libuv, uv_disable_stdio_inheritance): a pipe that
 * a background mount or its watcher inherited would stay open for as long as the mount.
 */
import { readdirSync } from 'node:fs';
import { closeOnExec } from './process-calls.js';

const STANDARD_STREAMS = 3;

/** Nothing but the standard streams is passed on from now on. Without /proc, what Node itself has marked is. */
export function keepDescriptorsToOurselves(): void {
  let names: string[];
  try {
    names = readdirSync('/proc/self/fd');
  } catch {
    return;
  }
  for (const fd of names.map(Number)) if (fd >= STANDARD_STREAMS) closeOnExec(fd);
}
