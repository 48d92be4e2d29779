/** Times that programs set, as the server can keep them. */
import type { NfsTime } from '../../programs/nfs3/index.js';

const MAX_SECONDS = 0xffff_ffff;

/** NFSv3 times are unsigned 32-bit seconds: what lies outside becomes the nearest end, as Linux clamps them. */
export function serverTime(time: NfsTime | 'now' | undefined): NfsTime | 'server' | undefined {
  if (time === 'now') return 'server';
  if (time === undefined || (time.seconds >= 0 && time.seconds <= MAX_SECONDS)) return time;
  return time.seconds < 0
    ? { seconds: 0, nanoseconds: 0 }
    : { seconds: MAX_SECONDS, nanoseconds: 999_999_999 };
}
