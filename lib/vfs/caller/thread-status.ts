/** /proc/TID/status of a thread, where its number means the same to the kernel and to /proc. */
import { readFileSync, readlinkSync } from 'node:fs';

/** Undefined: there is no such thread here, or it is hidden (hidepid=, see proc(5)). */
export function threadStatus(tid: number): string | undefined {
  try {
    // The /proc of another PID namespace numbers threads otherwise.
    if (readlinkSync('/proc/self') !== String(process.pid)) return undefined;
    return readFileSync(`/proc/${tid}/status`, 'latin1');
  } catch {
    return undefined;
  }
}

/** The text of a field, without the white space around it; empty where there is no such field. */
export function statusField(status: string, name: string): string {
  return new RegExp(`^${name}:(.*)$`, 'm').exec(status)?.[1]?.trim() ?? '';
}
