/** The product, or an earlier build of it: a mount of the bench's own nfs-ganesha, as root or rootless. */
import { join } from 'node:path';
import type { Ganesha } from '../../test/support/ganesha.js';
import { Mount } from '../../test/support/mount.js';
import type { Place } from '../../test/support/places.js';
import { descendants, dropCaches, settle } from '../cost.js';
import type { Way } from '../distance/way.js';
import { runLoad } from '../load.js';
import type { Cold, CountedSession, Row, Session, Store, Subject } from '../model.js';
import { Relay } from '../relay.js';
import { primeLoad } from '../store.js';
import { freshName } from './names.js';

export interface NfsFuseOptions {
  readonly name: string;
  readonly description: string;
  /** Takes part only in rows that move streams, as mounts that are not root's do anyway. */
  readonly streamsOnly?: boolean;
  readonly place: Place;
  readonly server: Ganesha;
  readonly store: Store;
  readonly load: string;
  /** Is another engine: with the server far away its rows say nothing. */
  readonly nearOnly?: boolean;
  /** Further mount options. */
  readonly mountOptions: readonly string[];
}

export class NfsFuse implements Subject {
  readonly name: string;
  readonly description: string;
  readonly distant: boolean;
  readonly store: Store;

  constructor(private readonly options: NfsFuseOptions) {
    const { name, description, mountOptions, store, nearOnly = false } = options;
    this.distant = !nearOnly;
    const extra = mountOptions.length > 0 ? `, options ${mountOptions.join(',')}` : '';
    this.name = name;
    this.description = `${description}, from nfs-ganesha on loopback${extra}`;
    this.store = store;
  }

  takes(row: Row): boolean {
    const { place, streamsOnly = place.name !== 'root' } = this.options;
    return row.stream === true || !streamsOnly;
  }

  async open(id: string, way: Way): Promise<Session> {
    return new NfsFuseSession(this.options, id, await way.to(this.options.server.port));
  }

  async openCounted(id: string, way: Way): Promise<CountedSession> {
    const relay = await Relay.start(await way.to(this.options.server.port));
    return new NfsFuseSession(this.options, id, relay.port, relay);
  }

  /** The place, which others may share, is closed by who opened it. */
  close(): Promise<void> {
    return Promise.resolve();
  }
}

class NfsFuseSession implements CountedSession {
  #mount: Mount | undefined;
  readonly freshName = freshName;

  constructor(
    private readonly options: NfsFuseOptions,
    private readonly id: string,
    private readonly port: number,
    private readonly relay?: Relay,
  ) {}

  /** Mounts, and has the new daemon do a little of everything. */
  async #mountAndPrime(): Promise<void> {
    const { place, server, store } = this.options;
    const mountOptions = [`port=${this.port}`, `mountport=${server.mountPort}`, 'nolock'];
    const source = { host: server.host, exportPath: server.exportPath, mountOptions };
    this.#mount = await Mount.start({ source, place, options: this.options.mountOptions });
    await this.load(...primeLoad(store, this.#mount.path));
  }

  get #mounted(): Mount {
    if (this.#mount === undefined) throw new Error('nfs-fuse is not mounted');
    if (this.#mount.outcome) throw new Error(`nfs-fuse has ended\n${this.#mount.log.slice(-4000)}`);
    return this.#mount;
  }

  get folder(): string {
    return join(this.#mounted.path, this.id);
  }

  load(...argv: readonly string[]) {
    return runLoad(this.options.place.command([this.options.load, ...argv]));
  }

  async prepare(cold: Cold): Promise<void> {
    const { server, store } = this.options;
    if (cold === 'nothing' && this.#mount !== undefined) return;
    await this.#unmount();
    if (cold === 'all') {
      await server.stop();
      await server.start();
    }
    await this.#mountAndPrime();
    if (cold === 'all') await dropCaches(store.path);
  }

  settle(): Promise<void> {
    return settle(this.options.store.path);
  }

  processes(): readonly number[] {
    const { pid } = this.#mounted;
    return [pid, ...descendants(pid)];
  }

  servers(): readonly number[] {
    return [this.options.server.pid];
  }

  takeCalls() {
    return this.relay?.take() ?? {};
  }

  async #unmount(): Promise<void> {
    const mount = this.#mount;
    this.#mount = undefined;
    if (mount !== undefined) await mount.close();
  }

  async close(): Promise<void> {
    await this.#unmount();
    await this.relay?.close();
  }
}
