/** A gRPC client that plays the provisioner and the kubelet, and the driver as a process of its own. */
import { join } from 'node:path';
import {
  type Client,
  credentials,
  makeGenericClientConstructor,
  type ServiceDefinition,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import type { Test } from 'tap';
import { csiInterface, fullName, type ServiceName } from '../../../lib/csi/wire/csi-interface.js';
import { type MountSource, mountsOf } from '../../support/mount.js';
import type { Place } from '../../support/places.js';
import { type Background, mustRun, ProgramFailed, run, start, until } from '../../support/process.js';
import { untilEnd } from '../../support/until-end.js';

const USUAL_MS = 60_000;

/** A decoded answer: its fields are for the test to know. */
export type Answer = Readonly<Record<string, unknown>>;

export interface Failure {
  readonly code: string;
  readonly details: string;
}

type Unary = (
  request: object,
  options: { readonly deadline: number },
  done: (error: ServiceError | null, answer: Answer) => void,
) => void;

const interfaceOfCsi = csiInterface();

/** Access modes. */
export const Mode = { SINGLE_NODE_WRITER: 1, MULTI_NODE_READER_ONLY: 3, MULTI_NODE_MULTI_WRITER: 5 } as const;

/** A capability of a volume with files. */
export function capability(
  flags: readonly string[] = [],
  mode: number = Mode.MULTI_NODE_MULTI_WRITER,
  group = '',
) {
  return { mount: { mount_flags: flags, volume_mount_group: group }, access_mode: { mode } };
}

export class CsiClient {
  readonly #clients = new Map<ServiceName, Client>();

  constructor(private readonly socket: string) {}

  /** A call, and its answer. @throws the ServiceError with which it fails */
  call(service: ServiceName, method: string, request: object = {}, withinMs = USUAL_MS): Promise<Answer> {
    const client = this.#client(service);
    const unary = (client as unknown as Record<string, Unary>)[method];
    if (unary === undefined) throw new TypeError(`no call ${method}`);
    return new Promise((resolve, reject) => {
      unary.call(client, request, { deadline: Date.now() + withinMs }, (error, answer) =>
        error === null ? resolve(answer) : reject(error),
      );
    });
  }

  /** A call that has to fail: how. */
  async failure(service: ServiceName, method: string, request: object, withinMs?: number): Promise<Failure> {
    try {
      const answer = await this.call(service, method, request, withinMs);
      throw new Error(`${method} succeeded: ${JSON.stringify(answer)}`);
    } catch (error) {
      const { code, details } = error as ServiceError;
      if (code === undefined) throw error;
      return { code: status[code], details };
    }
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
  }

  #client(service: ServiceName): Client {
    const known = this.#clients.get(service);
    if (known !== undefined) return known;
    const definition = interfaceOfCsi[fullName(service)] as ServiceDefinition;
    const made = new (makeGenericClientConstructor(definition, service))(
      `unix://${this.socket}`,
      credentials.createInsecure(),
    );
    this.#clients.set(service, made);
    return made;
  }
}

let drivers = 0;

/** `nfs-fuse csi` on a socket of its own. */
export class Driver {
  readonly socket: string;
  #client: CsiClient;
  #process: Background | undefined;

  private constructor(
    readonly place: Place,
    readonly args: readonly string[],
  ) {
    drivers += 1;
    this.socket = join(place.folder, `csi${drivers}.sock`);
    this.#client = new CsiClient(this.socket);
  }

  /** Starts one with these further arguments. It ends with the test, and all that it has mounted below the place. */
  static async start(
    t: Test,
    place: Place,
    args: readonly string[] = ['--node-id', 'node1'],
  ): Promise<Driver> {
    const driver = untilEnd(t, new Driver(place, args));
    await driver.start();
    return driver;
  }

  get argv(): string[] {
    const own = ['csi', '--endpoint', `unix://${this.socket}`, ...this.args];
    return this.place.command([...this.place.product, ...own]);
  }

  /** Starts it (again). */
  async start(): Promise<void> {
    const started = start(this.argv, { cwd: '/' });
    this.#process = started;
    await until('the driver is ready', () => {
      if (started.outcome) throw new ProgramFailed(this.argv, started.outcome, 'ended instead of listening');
      return started.output.includes('; ready.');
    });
  }

  get log(): string {
    return this.#process?.output ?? '';
  }

  get pid(): number {
    if (this.#process === undefined) throw new Error('the driver does not run');
    return this.#process.pid;
  }

  get client(): CsiClient {
    return this.#client;
  }

  /** Ends it alone, in good order or by SIGKILL. */
  async end(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    this.#client.close();
    this.#client = new CsiClient(this.socket);
    if (running === undefined || running.outcome) return;
    running.child.kill(signal);
    await running.ended;
  }

  async close(): Promise<void> {
    await this.end();
    const left = mountsOf(process.pid).filter(({ path }) => path.startsWith(`${this.place.folder}/pods/`));
    for (const { path } of left.reverse()) {
      await run(this.place.command([...this.place.product, 'umount', '--force', path]), { cwd: '/' });
      await run(['umount', '-l', path]);
    }
    this.#client.close();
  }
}

/** A volume of a pod, and the requests that the kubelet makes for it. */
export class PodVolume {
  readonly target: string;

  constructor(
    readonly driver: Driver,
    readonly id: string,
    readonly context: Readonly<Record<string, string>>,
    readonly flags: readonly string[],
    readonly pod = 'pod1',
  ) {
    const name = id.replace(/[^\w.-]/g, '_').slice(-100);
    this.target = join(driver.place.folder, 'pods', pod, 'volumes/kubernetes.io~csi', name, 'mount');
  }

  /** On this server's export, or a folder of it. */
  static on(driver: Driver, source: MountSource, subDir = '', pod?: string): PodVolume {
    const context = { server: source.host, share: source.exportPath, ...(subDir === '' ? {} : { subDir }) };
    return new PodVolume(driver, `${source.host}#export#${subDir}#`, context, source.mountOptions, pod);
  }

  get publishRequest() {
    return {
      volume_id: this.id,
      target_path: this.target,
      volume_capability: capability(this.flags),
      volume_context: this.context,
    };
  }

  publish(change: object = {}, withinMs?: number): Promise<Answer> {
    return this.driver.client.call(
      'Node',
      'NodePublishVolume',
      { ...this.publishRequest, ...change },
      withinMs,
    );
  }

  publishFailure(change: object = {}, withinMs?: number): Promise<Failure> {
    const request = { ...this.publishRequest, ...change };
    return this.driver.client.failure('Node', 'NodePublishVolume', request, withinMs);
  }

  unpublish(withinMs?: number): Promise<Answer> {
    const request = { volume_id: this.id, target_path: this.target };
    return this.driver.client.call('Node', 'NodeUnpublishVolume', request, withinMs);
  }

  unpublishFailure(withinMs?: number): Promise<Failure> {
    const request = { volume_id: this.id, target_path: this.target };
    return this.driver.client.failure('Node', 'NodeUnpublishVolume', request, withinMs);
  }

  stats(): Promise<Answer> {
    const request = { volume_id: this.id, volume_path: this.target };
    return this.driver.client.call('Node', 'NodeGetVolumeStats', request);
  }

  get isMounted(): boolean {
    return mountsOf(process.pid).some(({ path }) => path === this.target);
  }

  /** The process that serves it. */
  async pid(): Promise<number> {
    return (await this.#counters()).pid;
  }

  /** Bytes that are not on the server's stable storage. */
  async unwritten(): Promise<number> {
    return (await this.#counters()).unwritten.bytes;
  }

  async #counters(): Promise<{ readonly pid: number; readonly unwritten: { readonly bytes: number } }> {
    const { place } = this.driver;
    return JSON.parse(
      await mustRun(place.command([...place.product, 'stats', '--json', this.target]), { cwd: '/' }),
    );
  }
}
