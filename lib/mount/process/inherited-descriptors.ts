/**
 * Keeps the descriptors that this process was started with, beyond the standard streams, out of the programs that it
 * starts. Node does so for the first sixteen, and for higher ones only up to the first gap (libuv,
 * uv_disable_stdio_inheritance). A pipe that a background mount or its watcher inherits would stay open as long as the
 * mount lives.
 */
import { readdirSync } from 'node:fs';
import { closeOnExec } from './process-calls.js';

const STANDARD_STREAMS = 3;

/** From now on, programs that are started get only the standard streams. Without /proc, Node's own marks must do. */
export function keepDescriptorsToOurselves(): void {
  let names: string[];
  try {
    names = readdirSync('/proc/self/fd');
  } catch {
    return;
  }
  for (const fd of names.map(Number)) if (fd >= STANDARD_STREAMS) closeOnExec(fd);
}
