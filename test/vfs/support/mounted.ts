/** The whole file system over a fake server and a clock turned by hand, and how tar(1) makes files in it. */
import type { RequestContext, SetAttributes } from '../../../lib/fuse/contract/operations.js';
import { type ClientConfig, DEFAULT_CONFIG } from '../../../lib/vfs/config.js';
import { NfsFileSystem } from '../../../lib/vfs/filesystem.js';
import { ManualClock } from '../../rpc/support/manual-clock.js';
import { FakeServer } from './fake-server.js';
import { NO_CHANGES } from './no-changes.js';
import { O_WRONLY, TestContext } from './rig.js';

export const ROOT = 1;
export const O_EXCL = 0o200;
export const MTIME = { seconds: 77_777, nanoseconds: 5 };
export const TIMES = { mtime: MTIME };

export interface Made {
  readonly nodeid: number;
  readonly fh: number;
}

/** A mount of the server's root. */
export class Mounted {
  readonly server = new FakeServer();
  readonly clock = new ManualClock();
  readonly log: string[] = [];
  readonly fs: NfsFileSystem;
  readonly ctx: TestContext;

  constructor(config: Partial<ClientConfig> = {}, uid = 0) {
    this.ctx = new TestContext(uid);
    const note = (message: string): void => {
      if (!message.startsWith('A caller ')) this.log.push(message);
    };
    const { server } = this;
    this.fs = new NfsFileSystem(
      {
        rpc: server,
        machineName: 'test',
        limits: { rsize: 4096, wsize: 4096, dtsize: 65_536, nameMax: 255 },
        rootHandle: server.root.handle,
        rootAttributes: server.tree.attributes(server.root),
        generation: 7,
        findRoot: () => Promise.resolve(server.root.handle),
        close: () => Promise.resolve(),
      },
      { ...DEFAULT_CONFIG, host: 'h', exportPath: Buffer.from('/'), ...config },
      { log: { info: note, warn: note, error: note }, clock: this.clock },
    );
  }

  async create(name: string, mode = 0o600, ctx: RequestContext = this.ctx): Promise<Made> {
    const { entry, open } = await this.fs.create(ctx, ROOT, Buffer.from(name), mode, O_WRONLY | O_EXCL);
    return { nodeid: entry.nodeid, fh: open.fh };
  }

  set({ nodeid }: Made, changes: Partial<SetAttributes>, ctx: RequestContext = this.ctx) {
    return this.fs.setattr(ctx, nodeid, { ...NO_CHANGES, ...changes });
  }

  write({ nodeid, fh }: Made, data: string): Promise<number> {
    const request = { offset: 0, data: Buffer.from(data), flags: 0, fromPageCache: false, direct: false, fh };
    return this.fs.write(this.ctx, nodeid, request);
  }

  flush({ nodeid, fh }: Made): Promise<void> {
    return this.fs.flush(this.ctx, nodeid, fh, 0n);
  }

  async close(made: Made): Promise<void> {
    await this.flush(made);
    await this.fs.release(this.ctx, made.nodeid, made.fh);
  }

  /** The first file shows what the server does: nothing of it is put off. */
  async learn(): Promise<void> {
    const made = await this.create('first');
    await this.set(made, TIMES);
    await this.set(made, { uid: this.ctx.uid, gid: this.ctx.uid });
    await this.set(made, { mode: 0o644 });
    await this.close(made);
    this.server.forgetCalls();
  }

  /** Everything as tar(1) does it, but for the end. */
  async unpack(name: string): Promise<Made> {
    const made = await this.create(name);
    await this.write(made, 'content');
    await this.set(made, TIMES);
    await this.set(made, { uid: 5, gid: 6 });
    await this.set(made, { mode: 0o640 });
    return made;
  }
}

/** A mount whose server has shown what it does. */
export async function mounted(config: Partial<ClientConfig> = {}, uid = 0): Promise<Mounted> {
  const mount = new Mounted(config, uid);
  await mount.learn();
  return mount;
}
