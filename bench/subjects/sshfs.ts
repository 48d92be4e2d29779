/** sshfs over loopback, against an sshd of the bench's own: keys, port and configuration are made for the run. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { publicFolder, type ScratchFolder } from '../../test/support/folders.js';
import { mountsOf } from '../../test/support/mount.js';
import { freePorts } from '../../test/support/ports.js';
import { type Background, mustRun, run, start, until } from '../../test/support/process.js';
import { descendants, dropCaches, settle } from '../cost.js';
import type { Way } from '../distance/way.js';
import { runLoad } from '../load.js';
import type { Cold, Session, Store, Subject } from '../model.js';
import { makeStore, primeLoad } from '../store.js';
import { freshName } from './names.js';

const SSHD = '/usr/sbin/sshd';

export class Sshfs implements Subject {
  readonly name = 'sshfs';
  readonly distant = true;
  /** It sends all writes at once, and sshd moves the rest of them for each that it takes: minutes at 100 % of a core. */
  readonly onlyNear = ['random-write'];
  readonly description =
    'sshfs with its defaults, from openssh-server on loopback; does not sync files at close';

  private constructor(
    readonly store: Store,
    private readonly load: string,
    private readonly own: ScratchFolder,
    private readonly port: number,
    private readonly sshd: Background,
  ) {}

  /** Starts the server, for a new store in `folder`; fails with its words if it ends. */
  static async start(folder: string, load: string, primeFiles: number): Promise<Sshfs> {
    const own = publicFolder();
    const [port = 0] = await freePorts(1);
    for (const key of ['host', 'user']) {
      await mustRun(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', join(own.path, key)]);
    }
    const configuration = join(own.path, 'sshd_config');
    writeFileSync(
      configuration,
      `ListenAddress 127.0.0.1\nPort ${port}\nHostKey ${own.path}/host\nAuthorizedKeysFile ${own.path}/user.pub\n` +
        'StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n' +
        'Subsystem sftp internal-sftp\nLogLevel ERROR\n',
    );
    // sshd's privilege separation wants this folder; a service script would make it.
    mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    const sshd = start([SSHD, '-D', '-e', '-f', configuration]);
    const peer = new Sshfs(await makeStore(join(folder, 'sshfs'), load, primeFiles), load, own, port, sshd);
    const arguments_ = ['-p', String(port), ...peer.#sshOptions(), '127.0.0.1', 'true'];
    try {
      await until('sshd answers', async () => {
        if (sshd.outcome) throw new Error(`sshd ended: ${sshd.output}`);
        return (await run(['ssh', ...arguments_])).status === 0;
      });
    } catch (error) {
      await peer.close();
      throw error;
    }
    return peer;
  }

  static get installed(): boolean {
    return existsSync(SSHD) && existsSync('/usr/bin/sshfs');
  }

  #sshOptions(): string[] {
    return [
      'BatchMode=yes',
      `IdentityFile=${this.own.path}/user`,
      'IdentitiesOnly=yes',
      'StrictHostKeyChecking=no',
      'UserKnownHostsFile=/dev/null',
      'LogLevel=ERROR',
    ].flatMap((option) => ['-o', option]);
  }

  takes(): boolean {
    return true;
  }

  async open(id: string, way: Way): Promise<Session> {
    const port = await way.to(this.port);
    const mountPoint = join(this.own.path, freshName());
    mkdirSync(mountPoint);
    let client: Background | undefined;
    const unmount = async () => {
      if (client === undefined) return;
      await run(['umount', mountPoint]);
      await client.stop();
      client = undefined;
    };
    return {
      folder: join(mountPoint, id),
      load: (...argv) => runLoad([this.load, ...argv]),
      prepare: async (cold: Cold) => {
        if (cold === 'nothing' && client !== undefined) return;
        await unmount();
        client = await this.#mount(mountPoint, port);
        if (cold === 'all') await dropCaches(this.store.path);
      },
      settle: () => settle(this.store.path),
      processes: () => (client === undefined ? [] : [client.pid, ...descendants(client.pid)]),
      servers: () => descendants(this.sshd.pid),
      freshName,
      close: unmount,
    };
  }

  async #mount(mountPoint: string, port: number): Promise<Background> {
    const options = ['-f', '-p', String(port), ...this.#sshOptions()];
    const client = start(['sshfs', ...options, `127.0.0.1:${this.store.path}`, mountPoint]);
    try {
      await until('sshfs is mounted', () => {
        if (client.outcome) throw new Error(`sshfs ended: ${client.output}`);
        return mountsOf(process.pid).some(({ path }) => path === mountPoint);
      });
      await runLoad([this.load, ...primeLoad(this.store, mountPoint)]);
    } catch (error) {
      await run(['umount', '-l', mountPoint]);
      await client.stop();
      throw error;
    }
    return client;
  }

  async close(): Promise<void> {
    await this.sshd.stop();
    await this.own.remove();
  }
}
