/**
 * Checks a mount: it is there, it answers, and its server answers. Only another process looks at the mount, so that a
 * mount that hangs does not make this process hang as well.
 */
import { basename, dirname, join } from 'node:path';
import { absolutePath } from '../base/utf8-path.js';
import {
  askMount,
  FILE_SYSTEM_TYPE,
  type MountEntry,
  mountAt,
  readMountinfo,
  realpathWithin,
} from '../fuse/index.js';
import { otherVersion } from '../mount/keep/other-version.js';
import { askStats } from '../mount/reach/mount-control.js';
import { notMounted } from '../mount/reach/not-mounted.js';
import type { MountStatistics } from '../mount/serve/running-mount.js';
import { sleep } from '../mount/waiting.js';
import { failure, failureOf, ok, type Step, type Verdict } from './step.js';

/** `path` as the user gave it. */
export function mountSteps(path: string, timeoutMs: number): Step[] {
  let found: MountEntry | undefined;
  return [
    {
      name: 'mounted',
      examine: async () => {
        const entry = await locate(path, timeoutMs);
        if (entry?.type !== FILE_SYSTEM_TYPE) return failureOf(await notMounted(path, entry));
        found = entry;
        return ok(`${entry.source.toString()} on ${entry.mountpoint.toString()}`);
      },
    },
    {
      name: 'answers',
      needs: ['mounted'],
      examine: async () => {
        const verdict = await answers(path, found?.mountpoint.toString() ?? path, timeoutMs);
        if (verdict.result !== 'ok') return verdict;
        return { ...verdict, message: verdict.message + (await past(found, timeoutMs)) };
      },
    },
  ];
}

/** Uses the mount table alone where possible, because a look at a dead or hanging mount fails or hangs. */
async function locate(path: string, timeoutMs: number): Promise<MountEntry | undefined> {
  const entries = await readMountinfo();
  const absolute = absolutePath(path);
  const named = mountAt(entries, absolute);
  if (named !== undefined) return named;
  const parent = await realpathWithin(dirname(absolute), timeoutMs);
  const inParent = parent === undefined ? undefined : mountAt(entries, join(parent, basename(absolute)));
  if (inParent !== undefined) return inParent;
  const real = await realpathWithin(absolute, timeoutMs);
  return real === undefined ? undefined : mountAt(entries, real);
}

/**
 * How often another process has gone on with the mount, and whether its program is another one than this, as clauses. Empty: neither,
 * or its process cannot be asked.
 */
async function past(entry: MountEntry | undefined, timeoutMs: number): Promise<string> {
  const asked = entry === undefined ? undefined : askStats(entry).catch(() => undefined);
  const stats = await Promise.race([asked, sleep(timeoutMs).then(() => undefined)]);
  const version = otherVersion((stats as Partial<MountStatistics> | undefined)?.version);
  return takenOver(stats) + (version === undefined ? '' : `; ${version}`);
}

function takenOver(stats: unknown): string {
  const { deaths = 0, restarts = 0, last, kept } = takeoversIn(stats) ?? {};
  if (last === undefined) return '';
  const times = [
    ...(deaths > 0 ? [`${deaths} times after a death`] : []),
    ...(restarts > 0 ? [`${restarts} times by nfs-fuse restart`] : []),
  ];
  const lost =
    last.files > 0 ? `, and data of ${last.files === 1 ? '1 file' : `${last.files} files`} was lost` : '';
  const future = kept === true ? '' : '; not kept any more';
  return `; taken over ${times.join(' and ')}, last at ${last.at} within ${last.milliseconds} ms${lost}${future}`;
}

function takeoversIn(stats: unknown): MountStatistics['takeovers'] | undefined {
  if (typeof stats !== 'object' || stats === null || !('takeovers' in stats)) return undefined;
  return (stats as Pick<MountStatistics, 'takeovers'>).takeovers;
}

async function answers(path: string, mountpoint: string, timeoutMs: number): Promise<Verdict> {
  const { state, errno } = await askMount(mountpoint, timeoutMs);
  if (state === 'silent')
    return failure(
      `${path} does not answer within ${timeoutMs / 1000} s.`,
      `Its server is away, or nfs-fuse hangs: see its log; nfs-fuse umount --force ${path} gives it up.`,
    );
  if (state === 'dead')
    return failure(
      `${path} is a dead mount: the process that served it has ended.`,
      `Mount there again, which replaces it, or remove it: nfs-fuse umount ${path}.`,
    );
  // statfs(2) is answered by the server's FSSTAT, never from a cache.
  if (errno === undefined) return ok('answers, and so does its server');
  if (errno === 'EACCES' || errno === 'EPERM')
    return failure(
      `${path} may not be looked at by uid ${process.geteuid?.()} (${errno}).`,
      'Check as the user who has mounted it, or mount with allow_other.',
    );
  return failure(
    `${path} answers with an error (${errno}).`,
    'Its server cannot be reached, or no longer has the export: see the log of nfs-fuse.',
  );
}
