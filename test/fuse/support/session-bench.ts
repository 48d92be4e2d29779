/** A FUSE session over memory, and the arguments of READ and WRITE as the kernel lays them out. */
import type { FuseOperations } from '../../../lib/fuse/contract/operations.js';
import { FuseSession } from '../../../lib/fuse/session/session.js';
import type { SessionOptions } from '../../../lib/fuse/session/session-options.js';
import { MemoryChannel, raw, u32, u64 } from '../../support/memory-channel.js';

export interface Bench {
  readonly channel: MemoryChannel;
  readonly session: FuseSession;
  readonly log: string[];
  readonly timers: { callback: () => void; milliseconds: number; cleared: boolean }[];
}

/** A session over memory whose grace periods run only when the test says so. */
export function serve(operations: FuseOperations, options: SessionOptions = {}, init = true): Bench {
  const channel = new MemoryChannel();
  const log: string[] = [];
  const timers: Bench['timers'] = [];
  const session = new FuseSession(channel, operations, {
    log: (line) => log.push(line),
    timers: {
      set: (callback, milliseconds) => {
        const timer = { callback, milliseconds, cleared: false };
        timers.push(timer);
        return timer;
      },
      clear: (timer) => {
        (timer as Bench['timers'][number]).cleared = true;
      },
    },
    ...options,
  });
  if (init) channel.init();
  return { channel, session, log, timers };
}

export const readArguments = (fh: number, offset: bigint, size: number) => [
  u64(fh),
  u64(offset),
  u32(size),
  u32(0),
  u64(0),
  u32(0),
  u32(0),
];

export const writeArguments = (fh: number, offset: bigint, data: Buffer) => [
  u64(fh),
  u64(offset),
  u32(data.length),
  u32(0),
  u64(0),
  u32(0),
  u32(0),
  raw(data),
];
