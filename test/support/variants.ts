/**
 * The matrix of end-to-end tests: both servers, and the three ways to mount. One suite runs on each.
 *
 * NFS_FUSE_TEST_VARIANTS=ganesha/root,embedded/user runs only those named. `local/root` is a plain folder in place
 * of a mount: it shows the results of a suite on the machine's own file system. `knfsd/root`, Linux's own server in a guest, is
 * only run where it is named. With --all a suite for all six runs on all of them, otherwise on two: both servers, and the two ways to
 * mount of those who are not root. As root --ci runs most of these suites on Linux's own server.
 */
import type { Test } from 'tap';
import { ServeCommand } from './embedded.js';
import { exportFolder } from './folders.js';
import { Ganesha } from './ganesha.js';
import { Knfsd } from './guest/knfsd.js';
import { LocalFolder } from './local-folder.js';
import { Mount, type MountSource } from './mount.js';
import { openPlace, type Place, type PlaceName } from './places.js';
import { mustRun } from './process.js';
import { atTier } from './tier.js';
import { untilEnd } from './until-end.js';

export type ServerName = 'ganesha' | 'embedded' | 'knfsd' | 'local';

/** A server with an empty export that the place's user may change. */
export interface TestServer extends MountSource {
  /** The exported folder on the server's disk. */
  readonly directory: string;
  /** Makes `count` empty files in a folder of it, named as Agent.makeFiles names them: where `directory` is slow. */
  readonly makeFiles?: (folder: string, prefix: string, count: number) => Promise<void>;
  logTail(): string;
  start(): Promise<void>;
  stop(): Promise<void>;
  kill(): Promise<void>;
  close(): Promise<void>;
}

/** The part of a mount that a suite needs. */
export type WorkFolder = Pick<
  Mount,
  'path' | 'place' | 'log' | 'run' | 'mustRun' | 'agent' | 'closeAgents' | 'close'
>;

/** One cell of the matrix, mounted. */
export interface Variant {
  /** `server/place`. */
  readonly name: string;
  readonly serverName: ServerName;
  readonly place: Place;
  readonly server: TestServer;
  readonly mount: WorkFolder;
}

export interface Matrix {
  readonly servers?: readonly ServerName[];
  readonly places?: readonly PlaceName[];
  /** -o options of every mount. */
  readonly options?: readonly string[];
  /** How long one cell may take. */
  readonly timeoutMs?: number;
}

/** All six. */
export const EVERYWHERE: Matrix = {};
/** Both servers, mounted as root: for behaviours that do not depend on the mounter. */
export const AS_ROOT: Matrix = { places: ['root'] };

/** Starts a server of a kind for a place. */
export async function startServer(kind: ServerName, place: Place): Promise<TestServer> {
  if (kind === 'embedded') return ServeCommand.start(place);
  // In its namespace the user is 0, and the server is told so: the export belongs to root.
  const owner = place.name === 'userns' ? { uid: 0, gid: 0 } : place.owner;
  if (kind === 'knfsd') return Knfsd.start({ owner });
  if (kind === 'ganesha') {
    const server = await Ganesha.start();
    await mustRun(['chown', `${owner.uid}:${owner.gid}`, server.directory]);
    return server;
  }
  const folder = exportFolder();
  const nothing = async () => undefined;
  return {
    host: 'local',
    exportPath: folder.path,
    mountOptions: [],
    directory: folder.path,
    logTail: () => '',
    start: nothing,
    stop: nothing,
    kill: nothing,
    close: () => folder.remove(),
  };
}

const FEW_CELLS = ['embedded/userns', 'ganesha/user'];

function cells(matrix: Matrix): { server: ServerName; place: PlaceName }[] {
  const wanted = process.env.NFS_FUSE_TEST_VARIANTS?.split(',');
  const asked: ServerName[] = wanted?.some((name) => name.startsWith('knfsd/')) ? ['knfsd'] : [];
  const { servers = ['ganesha', 'embedded', ...asked], places = ['root', 'userns', 'user'] } = matrix;
  if (wanted?.includes('local/root') && places.includes('root')) return [{ server: 'local', place: 'root' }];
  const all = servers.flatMap((server) => places.map((place) => ({ server, place })));
  const isFew = atTier({ ci: true, all: false });
  const isWhole = servers.length === 2 && places.length === 3;
  const chosen = wanted ?? (isFew && isWhole ? FEW_CELLS : undefined);
  return all.filter(({ server, place }) => chosen?.includes(`${server}/${place}`) ?? true);
}

/** The fuse-native transport takes several times as long for small operations. */
const SLOWNESS = process.env.NFS_FUSE_TEST_TRANSPORT === undefined ? 1 : 4;
/** A server in a guest takes several times as long, too. */
const GUEST_SLOWNESS = 4;

/** Runs `body` as a subtest on each cell of the matrix, each with its own server and mount. */
export function overVariants(
  t: Test,
  matrix: Matrix,
  body: (t: Test, variant: Variant) => Promise<void>,
): void {
  for (const cell of cells(matrix)) {
    const name = `${cell.server}/${cell.place}`;
    const slowness = SLOWNESS * (cell.server === 'knfsd' ? GUEST_SLOWNESS : 1);
    t.test(name, { timeout: (matrix.timeoutMs ?? 300_000) * slowness }, async (t) => {
      const place = untilEnd(t, await openPlace(cell.place));
      const server = untilEnd(t, await startServer(cell.server, place));
      const options = [...(matrix.options ?? []), ...(place.name === 'root' ? ['allow_other'] : [])];
      const mount: WorkFolder = untilEnd(
        t,
        cell.server === 'local'
          ? new LocalFolder(server.directory, place)
          : await Mount.start({ source: server, place, options }),
      );
      try {
        await body(t, { name, serverName: cell.server, place, server, mount });
      } catch (error) {
        t.comment(`nfs-fuse said:\n${mount.log.slice(-4000)}`);
        t.comment(`the server said:\n${server.logTail()}`);
        throw error;
      }
    });
  }
}
