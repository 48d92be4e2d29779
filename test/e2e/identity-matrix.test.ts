/**
 * idmap-uid and idmap-gid in both directions, against servers that squash nobody, root or all: objects are made, listed,
 * given away and refused, as root and in a container's namespace.
 */
import { constants } from 'node:fs';
import { chmod, chown, lstat, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Agent, errnoOf } from '../support/agent.js';
import { ServeCommand } from '../support/embedded.js';
import { Ganesha } from '../support/ganesha.js';
import { openIdRangePlace } from '../support/id-range-place.js';
import { Mount, type MountSource } from '../support/mount.js';
import { openPlace, type Place } from '../support/places.js';
import { untilEnd } from '../support/until-end.js';

const { O_RDONLY } = constants;
const NOBODY = 65_534;
/** The result of errnoOf for a call that succeeded. */
const DONE = 'no error';

/** Root is root, 100 to 108 are 5100 to 5108, 109 is the user that squashed callers become. */
const RANGES = '0:0:1/100:5100:9/109:65534:1';
const SQUASHED = 109;
const ANNA = 105;
const BERT = 106;
const UNKNOWN = 50;
const onServer = (local: number): number => (local === SQUASHED ? NOBODY : local === 0 ? 0 : local + 5000);

type Squash = 'none' | 'root' | 'all';
interface Source extends MountSource {
  readonly directory: string;
  close(): Promise<void>;
}

async function ganesha(squash: Squash): Promise<Source> {
  const names = { none: 'No_Root_Squash', root: 'Root_Squash', all: 'All_Squash' } as const;
  return Ganesha.start({ squash: names[squash], anonymous: { uid: NOBODY, gid: NOBODY } });
}

async function embedded(squash: Squash): Promise<Source> {
  const place = await openPlace('root');
  const server = await ServeCommand.start(place, squash === 'none' ? [] : [`--${squash}-squash`]);
  const { host, exportPath, mountOptions, directory } = server;
  const close = async (): Promise<void> => {
    await server.close();
    await place.close();
  };
  return { host, exportPath, mountOptions, directory, close };
}

/** A folder of the export, as an export of its own. */
function within({ host, mountOptions, exportPath }: MountSource, folder: string): MountSource {
  return { host, mountOptions, exportPath: `${exportPath}/${folder}` };
}

const SERVERS = { ganesha, embedded };
const PLACES = {
  root: () => openPlace('root'),
  namespace: openIdRangePlace,
} satisfies Record<string, () => Promise<Place>>;

async function as(mount: Mount, uid: number, groups: readonly number[] = []): Promise<Agent> {
  const agent = await mount.agent();
  await agent.become(uid, uid, groups);
  await agent.umask(0o022);
  return agent;
}

/** Owner and group as the server's disk has them. */
async function ownersOnDisk(directory: string, name: string): Promise<number[]> {
  const { uid, gid } = await lstat(join(directory, name));
  return [uid, gid];
}

async function ownersSeen(agent: Agent, name: string): Promise<number[]> {
  const { uid, gid } = await agent.lstat(name);
  return [uid, gid];
}

/** Name and ids of each line of `ls -n`. */
async function listed(mount: Mount, folder: string): Promise<Map<string, number[]>> {
  const lines = (await mount.mustRun(['ls', '-n', folder])).split('\n').slice(1);
  const words = lines.filter((line) => line !== '').map((line) => line.split(/\s+/));
  return new Map(words.map((word) => [word[8] ?? '', [Number(word[2]), Number(word[3])]]));
}

interface Thing {
  readonly name: string;
  readonly mode: number;
  /** The ids of the server. */
  readonly owner: number;
  readonly isFolder?: boolean;
}

/** Puts files and folders on the server's disk, before a client has looked. */
async function prepare(disk: string, things: readonly Thing[]): Promise<void> {
  for (const { name, mode, owner, isFolder } of things) {
    const path = join(disk, name);
    await (isFolder ? mkdir(path) : writeFile(path, 'x'));
    await chmod(path, mode);
    await chown(path, owner, owner);
  }
}

const THINGS: readonly Thing[] = [
  { name: '.', isFolder: true, mode: 0o777, owner: 0 },
  { name: 'given', mode: 0o644, owner: onServer(ANNA) },
  { name: 'volume', isFolder: true, mode: 0o755, owner: 0 },
  { name: 'volume/data', mode: 0o644, owner: 0 },
  { name: 'others', isFolder: true, mode: 0o755, owner: 0 },
  { name: 'others/annas', mode: 0o600, owner: onServer(ANNA) },
  { name: 'others/strangers', mode: 0o600, owner: 7777 },
];

/** Every way to make an object: the owner is the user that the server takes the caller for. */
async function makesObjects(t: Test, mount: Mount, disk: string, caller: number, as: Agent, squash: Squash) {
  const becomes = squash === 'all' || (squash === 'root' && caller === 0) ? SQUASHED : caller;
  const made = ['file', 'folder', 'link', 'fifo'].map((kind) => `${kind}-by-${caller}`);
  const [file = '', folder = '', link = '', fifo = ''] = made;
  await as.writeFile(file, 'x');
  await as.mkdir(folder);
  await as.symlink('target', link);
  await as.mkfifo(fifo);
  const list = await listed(mount, '.');
  for (const name of made) {
    t.same(await ownersOnDisk(disk, name), [onServer(becomes), onServer(becomes)], `${name} on the server`);
    t.same(await ownersSeen(as, name), [becomes, becomes], `${name} here`);
    t.same(list.get(name), [becomes, becomes], `${name} in ls -n`);
  }
}

async function givesAway(t: Test, disk: string, root: Agent, anna: Agent, squash: Squash): Promise<void> {
  t.equal(await errnoOf(root.chown('given', UNKNOWN, -1)), 'EINVAL', 'to a user the server does not have');
  t.equal(await errnoOf(root.chown('given', -1, NOBODY)), 'EINVAL', 'to the nobody who is only shown');
  t.same(await ownersOnDisk(disk, 'given'), [onServer(ANNA), onServer(ANNA)], 'and nothing was changed');

  const chgrp = await errnoOf(anna.chown('given', -1, BERT));
  t.equal(chgrp, squash === 'all' ? 'EPERM' : DONE, 'an owner gives to a group that they are in');
  t.equal(await errnoOf(anna.chown('given', -1, 107)), 'EPERM', 'not to another');
  t.equal(await errnoOf(anna.chown('given', BERT, -1)), 'EPERM', 'nor to another user');

  // The start of a container does it.
  const recursive = [
    errnoOf(root.chown('volume', ANNA, BERT)),
    errnoOf(root.chown('volume/data', ANNA, BERT)),
  ];
  if (squash === 'none') {
    t.same(await Promise.all(recursive), [DONE, DONE]);
    for (const name of ['volume', 'volume/data']) {
      t.same(await ownersOnDisk(disk, name), [onServer(ANNA), onServer(BERT)], `${name} on the server`);
      t.same(await ownersSeen(root, name), [ANNA, BERT], `${name} here`);
    }
  } else {
    t.same(await Promise.all(recursive), ['EPERM', 'EPERM'], 'a squashed root gives nothing away');
  }
}

async function isKeptOut(t: Test, mount: Mount, disk: string, root: Agent, anna: Agent, squash: Squash) {
  const bert = await as(mount, BERT);
  const reads = async (agent: Agent, name: string) => errnoOf(agent.open(`others/${name}`, O_RDONLY));
  t.equal(await reads(anna, 'annas'), squash === 'all' ? 'EACCES' : DONE, 'the owner');
  t.equal(await reads(bert, 'annas'), 'EACCES', 'another user');
  t.equal(await reads(root, 'annas'), squash === 'none' ? DONE : 'EACCES', 'root');
  t.equal(await reads(anna, 'strangers'), 'EACCES');
  t.same(await ownersSeen(root, 'others/strangers'), [NOBODY, NOBODY], 'an owner without a counterpart');
  t.same((await listed(mount, 'others')).get('strangers'), [NOBODY, NOBODY]);

  const unknown = await as(mount, UNKNOWN);
  t.equal(await reads(unknown, 'annas'), 'EOVERFLOW', 'a caller without a counterpart reads nothing');
  t.equal(await errnoOf(unknown.writeFile('by-nobody', 'x')), 'EOVERFLOW', 'and makes nothing');
  t.notOk((await readdir(disk)).includes('by-nobody'));
}

for (const [serverName, startServer] of Object.entries(SERVERS)) {
  for (const squash of ['none', 'root', 'all'] as const) {
    t.test(`${serverName} that squashes ${squash}: ranges map both ways`, async (t) => {
      t.jobs = 2;
      const server = untilEnd(t, await startServer(squash));
      const cells = Object.entries(PLACES).map(([placeName, open]) =>
        t.test(`mounted in ${placeName}`, { buffered: true }, async (t) => {
          const disk = join(server.directory, placeName);
          await prepare(disk, THINGS);
          const place = untilEnd(t, await open());
          const options = ['allow_other', `idmap-uid=${RANGES}`, `idmap-gid=${RANGES}`];
          const mount = untilEnd(t, await Mount.start({ source: within(server, placeName), place, options }));
          const root = await mount.agent();
          const anna = await as(mount, ANNA, [BERT]);
          await root.umask(0o022);
          await makesObjects(t, mount, disk, 0, root, squash);
          await makesObjects(t, mount, disk, ANNA, anna, squash);
          await givesAway(t, disk, root, anna, squash);
          await isKeptOut(t, mount, disk, root, anna, squash);
        }),
      );
      await Promise.all(cells);
    });
  }
}
