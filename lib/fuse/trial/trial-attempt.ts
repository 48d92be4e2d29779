/**
 * The work of the program behind trialMount(). It mounts in a mount namespace of its own, which ends with the program and takes the
 * mount with it, also after a crash.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { errnoName } from '../contract/errno.js';
import { PROTOCOL_MAJOR, PROTOCOL_MINOR_OLDEST } from '../contract/protocol.js';
import { setReadAhead } from '../mount/connection.js';
import { bitsOf, SAFE_FLAGS } from '../mount/mount-flags.js';
import { mountAt, readMountinfo } from '../mount/mountinfo.js';
import { parseInit } from '../session/negotiate.js';
import { RequestBuffer } from '../session/request-buffer.js';
import { mount, readInto, unshareMounts } from '../system-calls.js';
import type { TrialMount } from './trial.js';

/** The kernel refuses reads into a smaller buffer. */
const INIT_BUFFER_BYTES = 64 * 1024;
/** Any value but the usual 128, to see whether it is taken. */
const READ_AHEAD_KIB = 1024;
/** It always exists, and nothing in this process looks it up after the mount. */
const TARGET = Buffer.from('/');

/** Never rejects but for faults of this program. The mount namespace of this process is another one from then on. */
export async function attemptTrial(): Promise<TrialMount> {
  const alone = unshareMounts();
  if (alone < 0) return { outcome: 'untried', errno: errnoName(-alone) };
  let fd: number;
  try {
    fd = openSync('/dev/fuse', constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    return { outcome: 'untried', errno: (error as NodeJS.ErrnoException).code ?? String(error) };
  }
  try {
    const owner = `user_id=${process.geteuid?.() ?? 0},group_id=${process.getegid?.() ?? 0}`;
    const flags = bitsOf(SAFE_FLAGS);
    const result = mount('trial', TARGET, 'fuse.nfs-fuse', flags, `fd=${fd},rootmode=40000,${owner}`);
    if (result < 0) return { outcome: 'refused', errno: errnoName(-result) };
    // The kernel says INIT as soon as it is mounted.
    const message = new RequestBuffer(INIT_BUFFER_BYTES);
    const length = readInto(fd, message.bytes, INIT_BUFFER_BYTES);
    if (length < 0) return { outcome: 'refused', errno: errnoName(-length) };
    const { major, minor } = parseInit(message, length);
    const entry = mountAt(await readMountinfo(), TARGET);
    return {
      outcome: 'mounted',
      protocol: `${major}.${minor}`,
      spoken: major === PROTOCOL_MAJOR && minor >= PROTOCOL_MINOR_OLDEST,
      readAheadWritable:
        entry !== undefined && (await setReadAhead(entry.major, entry.minor, READ_AHEAD_KIB)),
    };
  } finally {
    closeSync(fd);
  }
}
