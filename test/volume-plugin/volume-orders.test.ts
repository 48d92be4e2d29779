/** The order of what happens to one volume: calls that meet each other, and mounts that vanish at a bad moment. */
import t from 'tap';
import type { MountEntry } from '../../lib/fuse/index.js';
import { Volume } from '../../lib/volume-plugin/volume.js';
import type { VolumeMount } from '../../lib/volume-plugin/volume-mount.js';
import { readVolumeOptions } from '../../lib/volume-plugin/volume-options.js';
import { silentServer } from '../cli/support/silent-server.js';
import { until } from '../support/process.js';

const OPTIONS = { device: 'server:/export' };
const PATIENCE = { ms: 2_300, slowMs: 2_300 };

/** A kernel of one mount, whose answers can be kept back. */
class PretendedMount {
  readonly path = '/volumes/data/data';
  readonly place = '/mounts/data/data';
  readonly entries: MountEntry[] = [];
  isPublished = false;
  makes = 0;
  ends = 0;
  /** Looks at the table wait for this. */
  table: Promise<void> = Promise.resolve();
  /** The question whether the mount is dead waits for this. */
  death: Promise<boolean> = Promise.resolve(false);
  /** Happens as it is mounted. */
  making = (): Promise<void> => Promise.resolve();
  /** Happens after it was unmounted. */
  ended = (): void => {};
  #interrupt: (error: Error) => void = () => {};

  entryIn(entries: readonly MountEntry[]): MountEntry | undefined {
    return entries[0];
  }

  async entry(): Promise<MountEntry | undefined> {
    await this.table;
    return this.entries[0];
  }

  publish(): void {
    this.isPublished = true;
  }

  withdraw(): void {
    this.isPublished = false;
  }

  isDead(): Promise<boolean> {
    return this.death;
  }

  async make(): Promise<void> {
    this.makes += 1;
    const interrupted = new Promise<never>((_, reject) => {
      this.#interrupt = reject;
    });
    await Promise.race([this.making(), interrupted]);
    const made = { id: this.makes, major: 0, minor: 999_999, mountpoint: Buffer.from(this.place) };
    this.entries.push({ ...made, source: Buffer.from('server:/export') } as unknown as MountEntry);
  }

  interrupt(): void {
    this.#interrupt(new Error('interrupted'));
  }

  async end(): Promise<string> {
    this.ends += 1;
    this.entries.length = 0;
    this.ended();
    return '';
  }

  async takeAway(): Promise<void> {
    this.entries.length = 0;
  }

  removeFolders(): void {}
}

function volumeOn(options: Record<string, string> = OPTIONS): { mount: PretendedMount; volume: Volume } {
  const mount = new PretendedMount();
  const settings = readVolumeOptions(options, []);
  return { mount, volume: new Volume('data', settings, mount as unknown as VolumeMount, () => {}) };
}

function gate<Value>(): { readonly promise: Promise<Value>; open(value: Value): void } {
  let open: (value: Value) => void = () => {};
  const promise = new Promise<Value>((resolve) => {
    open = resolve;
  });
  return { promise, open: (value) => open(value) };
}

t.test('a mount that goes while it is looked at is not found any more, at once', async (t) => {
  const { mount, volume } = volumeOn();
  await volume.use('one', PATIENCE);
  const death = gate<boolean>();
  mount.death = death.promise;
  volume.watch(mount.entries, performance.now());
  mount.entries.length = 0;
  volume.watch([], performance.now());
  t.notOk(mount.isPublished);
  death.open(false);
});

t.test('a mount that goes while its next user asks for it is made anew', async (t) => {
  const { mount, volume } = volumeOn();
  await volume.use('one', PATIENCE);
  const death = gate<boolean>();
  mount.death = death.promise;
  const second = volume.use('two', PATIENCE);
  await new Promise(setImmediate);
  mount.entries.length = 0;
  // The folder below it answers.
  death.open(false);
  await second;
  t.equal(mount.makes, 2);
});

t.test('a mount table from before the mount does not take it back', async (t) => {
  const { mount, volume } = volumeOn();
  const before = performance.now();
  await volume.use('one', PATIENCE);
  volume.watch([], before);
  t.ok(mount.isPublished);
  t.equal(mount.makes, 1);
});

t.test('a volume stays mounted for a user who came while the containers were looked at', async (t) => {
  const { mount, volume } = volumeOn();
  await mount.make();
  volume.adopt(mount.entries[0], true);
  const table = gate<void>();
  mount.table = table.promise;
  const released = volume.release('of earlier times');
  const used = volume.use('new', PATIENCE);
  table.open();
  await Promise.all([released, used]);
  t.equal(mount.ends, 0);
  t.ok(mount.isPublished);
});

t.test('a user who comes as an attempt is given up has the next attempt', async (t) => {
  const { mount, volume } = volumeOn();
  mount.making = () => new Promise(() => {});
  const first = volume.use('one', PATIENCE);
  await until('it is being mounted', () => mount.makes === 1);
  const released = volume.release('one');
  mount.making = () => Promise.resolve();
  const second = volume.use('two', PATIENCE);
  await t.rejects(first);
  await released;
  t.equal(await second, mount.path);
  t.ok(mount.isPublished);
});

t.test('a second Mount of one user that fails leaves the claim of the first', async (t) => {
  const { mount, volume } = volumeOn();
  await volume.use('one', PATIENCE);
  mount.entries.length = 0;
  mount.making = () => Promise.reject(new Error('not now'));
  await t.rejects(volume.use('one', PATIENCE), /not now/);
  mount.making = () => Promise.resolve();
  volume.watch([], performance.now());
  await until('it is mounted again', () => mount.isPublished);
  t.equal(mount.makes, 3);
});

t.test('a volume that could not be forgotten can be used as before', async (t) => {
  const { mount, volume } = volumeOn();
  await volume.use('one', PATIENCE);
  const full = () => {
    throw new Error('ENOSPC');
  };
  await t.rejects(volume.dispose(full), /ENOSPC/);
  t.notOk(mount.isPublished);
  await volume.use('one', PATIENCE);
  t.ok(mount.isPublished);
});

t.test('a failure after the unmount publishes no empty folder', async (t) => {
  const { mount, volume } = volumeOn();
  await volume.use('one', PATIENCE);
  mount.ended = () => {
    throw new Error('the folder is not empty');
  };
  await t.rejects(volume.release('one'), /not empty/);
  t.notOk(mount.isPublished);
});

t.test('a volume can be removed while its folder is being made on a server that is silent', async (t) => {
  const server = await silentServer(t);
  const { mount, volume } = volumeOn({ device: '127.0.0.1:/export', subdir: 'team', o: server.options });
  const used = volume.use('one', PATIENCE);
  await t.rejects(used, /not mounted yet/);
  let isForgotten = false;
  await volume.dispose(() => {
    isForgotten = true;
  });
  t.ok(isForgotten);
  t.equal(mount.makes, 0, 'and nothing is mounted afterwards');
});
