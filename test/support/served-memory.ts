/** A mount of a file system in memory as root, and gates at which its operations wait. */
import { join } from 'node:path';
import type { Test } from 'tap';
import { FuseSession, type KernelMount, mountKernel, type SessionOptions } from '../../lib/fuse/index.js';
import { publicFolder } from './folders.js';
import type { MemoryFileSystem } from './memory-fs.js';
import { run } from './process.js';

export interface Served {
  readonly mount: KernelMount;
  readonly session: FuseSession;
  readonly log: string[];
  path(name: string): string;
}

/** Mounts `fs` as root until the test ends, whatever state the mount is in then. */
export async function serve(t: Test, fs: MemoryFileSystem, options: SessionOptions = {}): Promise<Served> {
  const folder = publicFolder();
  const mount = await mountKernel({ mountpoint: folder.path, source: 'memory', method: 'direct' });
  const log: string[] = [];
  const session = new FuseSession(mount.fd, fs, { log: (line) => log.push(line), drainMs: 0, ...options });
  t.teardown(async () => {
    session.abort();
    await mount.unmount({ lazy: true });
    await session.closed;
    await folder.remove();
  });
  await session.ready;
  return { mount, session, log, path: (name) => join(mount.mountpoint, name) };
}

/** Something that operations wait for until the test lets them go. */
export class Gate {
  waiting = 0;
  #open: () => void = () => {};
  readonly #opened = new Promise<void>((resolve) => {
    this.#open = resolve;
  });
  async wait(): Promise<void> {
    this.waiting += 1;
    await this.#opened;
  }
  open(): void {
    this.#open();
  }
}

/** Whether `promise` is still pending after this process has served another program from start to end. */
export async function pendingAfter(promise: Promise<unknown>, argv: readonly string[]): Promise<boolean> {
  let pending = true;
  const settled = () => {
    pending = false;
  };
  promise.then(settled, settled);
  const outcome = await run(argv, { timeoutMs: 10_000 });
  if (outcome.status !== 0) throw new Error(outcome.stderr.toString());
  return pending;
}
