/**
 * A private nfs-ganesha (FSAL_VFS, NFSv3 over TCP, over UDP if asked to) on free ports of 127.0.0.1, without a portmapper.
 *
 * Its lock manager works without a portmapper and without rpc.statd: NM_LOCK is carried out, LOCK, which asks for monitoring
 * by statd, is answered DENIED_NOLOCKS. The locks are held on the exported folder, too: programs that lock files there meet them.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { exportFolder, publicFolder, type ScratchFolder } from './folders.js';
import type { GuestNetwork } from './guest/network.js';
import { freePorts } from './ports.js';
import { type Background, mustRun, start, until } from './process.js';
import { helperFolder } from './project.js';

export interface GaneshaOptions {
  readonly squash?: 'No_Root_Squash' | 'Root_Squash' | 'All_Squash';
  /** The user that squashed callers become. */
  readonly anonymous?: { uid: number; gid: number };
  readonly access?: 'RW' | 'RO';
  /** Refuse clients whose source port is not below 1024. */
  readonly privilegedPort?: boolean;
  /** The folder to export; a new, empty one by default. */
  readonly directory?: string;
  /** Listen on all addresses: for a network namespace that is reachable from nowhere else. */
  readonly everywhere?: boolean;
  /** Run in this network, listening on all its addresses. */
  readonly network?: GuestNetwork;
  /** Register with the port mapper of its network, which has to be there. */
  readonly registers?: boolean;
  /** Serve over UDP too. */
  readonly udp?: boolean;
  /** FSINFO's rtmax, wtmax, rtpref and wtpref. */
  readonly maxIo?: number;
  /** Give locks (NLM). With `graceSeconds`, each start begins with a grace period; otherwise there is none. */
  readonly locks?: boolean | { readonly graceSeconds: number };
}

/** A running (or stopped) server, exporting {@link directory} as `/export`. */
export class Ganesha {
  readonly host = '127.0.0.1';
  readonly exportPath = '/export';
  /** The exported folder, as the server's machine sees it. */
  readonly directory: string;
  #process: Background | undefined;
  #starts = 0;

  private constructor(
    readonly port: number,
    readonly mountPort: number,
    /** The port of its lock manager, if it has one. */
    readonly lockPort: number,
    private readonly options: GaneshaOptions,
    private readonly exported: ScratchFolder,
    private readonly own: ScratchFolder,
  ) {
    this.directory = options.directory ?? join(exported.path, 'export');
    if (options.directory === undefined) mkdirSync(this.directory);
  }

  /** Starts a server with an empty export. */
  static async start(options: GaneshaOptions = {}): Promise<Ganesha> {
    const [port = 0, mountPort = 0, lockPort = 0] = await freePorts(3);
    const server = new Ganesha(port, mountPort, lockPort, options, exportFolder(), publicFolder());
    try {
      await server.start();
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  /** The options that a client needs: `port=…,mountport=…`, and `nlmport=…` or `nolock`. */
  get mountOptions(): readonly string[] {
    const locks = this.options.locks ? `nlmport=${this.lockPort}` : 'nolock';
    return [`port=${this.port}`, `mountport=${this.mountPort}`, locks];
  }

  /** The prefix of a command that is to reach the server. */
  get enter(): readonly string[] {
    return this.options.network?.enter ?? [];
  }

  get pid(): number {
    if (!this.#process || this.#process.outcome) throw new Error('nfs-ganesha does not run');
    return this.#process.pid;
  }

  get #log(): string {
    return join(this.own.path, `log-${this.#starts}`);
  }

  /** The last lines that the server logged. */
  logTail(lines = 20): string {
    if (!existsSync(this.#log)) return '';
    return readFileSync(this.#log, 'latin1').split('\n').slice(-lines).join('\n');
  }

  #configuration(): string {
    const {
      squash = 'No_Root_Squash',
      access = 'RW',
      privilegedPort = false,
      maxIo = 1 << 20,
      anonymous,
      everywhere = this.options.network !== undefined,
      udp = false,
      locks = false,
    } = this.options;
    const squashTo = anonymous ? `Anonymous_Uid = ${anonymous.uid}; Anonymous_Gid = ${anonymous.gid};` : '';
    const grace =
      typeof locks === 'object'
        ? `Graceless = false; Grace_Period = ${locks.graceSeconds}; Lease_Lifetime = ${locks.graceSeconds};`
        : 'Graceless = true;';
    return `
      NFS_CORE_PARAM {
        Protocols = 3; NFS_Port = ${this.port}; MNT_Port = ${this.mountPort}; ${everywhere ? '' : 'Bind_addr = 127.0.0.1;'}
        Enable_NLM = ${locks !== false}; ${locks ? `NLM_Port = ${this.lockPort};` : ''} Enable_RQUOTA = false; Enable_UDP = ${udp};
        mount_path_pseudo = true; Dbus_Name_Prefix = "nfsfuse${this.port}";
      }
      NFS_KRB5 { Active_krb5 = false; }
      NFSV4 { ${grace} RecoveryRoot = "${this.own.path}/recovery"; }
      LOG { Default_Log_Level = EVENT; }
      EXPORT {
        Export_Id = 1; Path = "${this.directory}"; Pseudo = /export; Tag = export;
        Protocols = 3; Transports = ${udp ? 'TCP, UDP' : 'TCP'}; SecType = sys, none;
        Access_Type = ${access}; Squash = ${squash}; ${squashTo} PrivilegedPort = ${privilegedPort};
        MaxRead = ${maxIo}; MaxWrite = ${maxIo}; PrefRead = ${maxIo}; PrefWrite = ${maxIo}; PrefReaddir = 1048576;
        FSAL { Name = VFS; }
      }`;
  }

  /** Starts it (again), on the ports that it had. */
  async start(): Promise<void> {
    mkdirSync('/var/run/ganesha', { recursive: true });
    const configuration = join(this.own.path, 'configuration');
    writeFileSync(configuration, this.#configuration());
    this.#starts += 1;
    const pidFile = join(this.own.path, 'pid');
    const argv = [
      ...this.enter,
      'ganesha.nfsd',
      '-F',
      '-f',
      configuration,
      '-L',
      this.#log,
      '-p',
      pidFile,
      '-N',
      'NIV_EVENT',
    ];
    const preload = this.options.registers ? {} : { LD_PRELOAD: join(helperFolder, 'norpcbind.so') };
    const server = start(argv, { env: { ...process.env, ...preload } });
    this.#process = server;
    const failed = (why: string) => new Error(`nfs-ganesha ${why}\n${this.logTail()}\n${server.output}`);
    const initialized = () => {
      if (server.outcome) throw failed('ended');
      return this.logTail(100).includes('NFS SERVER INITIALIZED');
    };
    await until('nfs-ganesha is ready', initialized).catch((error: unknown) => {
      throw error instanceof Error && error.message.startsWith('nfs-ganesha')
        ? error
        : failed('is not ready');
    });
  }

  /** Ends it in good order. */
  async stop(): Promise<void> {
    await this.#process?.stop(20_000);
    this.#process = undefined;
  }

  /** SIGKILL, as a machine that loses power. */
  async kill(): Promise<void> {
    this.#process?.signal('SIGKILL');
    await this.#process?.ended;
    this.#process = undefined;
  }

  /** Freezes the server, or lets it go on: it keeps its connections and answers nothing. */
  freeze(frozen: boolean): void {
    process.kill(this.pid, frozen ? 'SIGSTOP' : 'SIGCONT');
  }

  /** Puts a copy in place of the exported directory, so that every handle is new. Only while it is stopped. */
  async replaceExport(): Promise<void> {
    if (this.#process) throw new Error('stop the server first');
    const copy = `${this.directory}.copy`;
    const old = `${this.directory}.old`;
    await mustRun(['cp', '-a', this.directory, copy]);
    await rename(this.directory, old);
    await rename(copy, this.directory);
    await mustRun(['rm', '-rf', old]);
  }

  /** Stops it and removes what it exported. */
  async close(): Promise<void> {
    if (this.#process && !this.#process.outcome) process.kill(this.#process.pid, 'SIGCONT');
    await this.stop();
    await this.exported.remove();
    await this.own.remove();
  }
}
