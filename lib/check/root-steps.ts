/** Asks the NFS server about the exported directory, with the credential of the user who runs the check. */
import {
  ACCESS,
  Access,
  type Fattr3,
  type FileHandle,
  FileType,
  FSINFO,
  GETATTR,
  Status,
  statusName,
} from '../programs/nfs3/index.js';
import { authSysCredential, type Credential, RpcAuthError } from '../rpc/index.js';
import { identityFor, ownCredential, ownServerIds } from '../vfs/caller/own-identity.js';
import { isStale, statusError } from '../vfs/remote/status-errno.js';
import { reservedPort } from './export-steps.js';
import type { ServerVisit } from './server-visit.js';
import { failure, ok, type Step, type Verdict, warning } from './step.js';

const ALL = Access.READ | Access.LOOKUP | Access.MODIFY | Access.EXTEND | Access.DELETE;
/** With smaller transfers, one read or write becomes many calls. */
const SMALL_TRANSFER = 64 * 1024;
/** Clocks under NTP differ by less, and a smaller difference does no harm. */
const CLOCK_TOLERANCE_MS = 2_000;

const UNSQUASH =
  'Export with no_root_squash (nfs-ganesha: Squash = No_Root_Squash), or let the user in whom the server takes ' +
  'root for, usually nobody.';

export function rootSteps(visit: ServerVisit): Step[] {
  const steps: Step[] = [
    { name: 'export root', needs: ['MNT', 'NFS service'], examine: () => exportRoot(visit) },
    { name: 'reserved port', needs: ['export root'], examine: () => reservedPort(visit) },
    { name: 'access', needs: ['export root'], examine: () => access(visit) },
  ];
  if (ownUid(visit) === 0)
    steps.push({ name: 'root squash', needs: ['export root'], examine: () => rootSquash(visit) });
  steps.push(
    { name: 'transfer sizes', needs: ['export root'], examine: () => sizes(visit) },
    { name: 'clock', needs: ['export root'], examine: () => clock(visit) },
  );
  return steps;
}

/** This user's uid as the server sees it. */
function ownUid(visit: ServerVisit): number {
  return ownServerIds(identityFor(visit.config.identity)).uid;
}

/** The result of the step `export root`, for the steps that need it. */
function rootOf(visit: ServerVisit): { handle: FileHandle; attributes: Fattr3 } {
  const { grant, root } = visit;
  if (grant === undefined || root === undefined) throw new Error('the root is not known');
  return { handle: grant.handle, attributes: root };
}

async function exportRoot(visit: ServerVisit): Promise<Verdict> {
  const { grant } = visit;
  if (grant === undefined) throw new Error('the root is not known');
  const object = grant.handle;
  let refusal: Status = Status.OK;
  try {
    const attributes = await visit.withPort(
      async () => {
        const result = await visit.nfs((rpc) =>
          rpc.call(GETATTR, { object }, { credential: ownCredential(visit.config.identity) }),
        );
        refusal = result.status;
        if (result.status !== Status.OK) throw statusError(result.status);
        return result.attributes;
      },
      (error) => error instanceof RpcAuthError || refusal === Status.ACCES || refusal === Status.PERM,
    );
    if (attributes.type !== FileType.DIR) throw statusError(Status.NOTDIR);
    visit.root = attributes;
    return ok(describe(attributes));
  } catch (error) {
    return visit.explain(error);
  }
}

function describe({ mode, uid, gid }: Fattr3): string {
  return `a directory of ${uid}:${gid}, mode ${mode.toString(8).padStart(4, '0')}`;
}

/** The ACCESS bits of `credential`. */
async function granted(visit: ServerVisit, object: FileHandle, credential: Credential): Promise<number> {
  const result = await visit.nfs((rpc) => rpc.call(ACCESS, { object, access: ALL }, { credential }));
  if (result.status !== Status.OK) throw statusError(result.status);
  return result.access;
}

async function access(visit: ServerVisit): Promise<Verdict> {
  const { handle, attributes } = rootOf(visit);
  let bits: number;
  try {
    bits = await granted(visit, handle, ownCredential(visit.config.identity));
  } catch (error) {
    return visit.explain(error);
  }
  const who = `uid ${ownUid(visit)}`;
  const remedy =
    `Change the owner or the mode on the server: it is ${describe(attributes)}` +
    (ownUid(visit) === 0 ? '; or export with no_root_squash.' : '.');
  if ((bits & Access.LOOKUP) === 0)
    return failure(`The server does not let ${who} into the exported directory.`, remedy);
  if ((bits & Access.READ) === 0)
    return warning(`The server does not let ${who} list the exported directory.`, remedy);
  if (visit.config.readOnly) return ok(`${who} may read`);
  if ((bits & Access.MODIFY) === 0 && (bits & Access.EXTEND) === 0)
    return warning(
      `The server does not let ${who} create files in the exported directory.`,
      `${remedy} If the export is read-only: export it with rw.`,
    );
  return ok(`${who} may read and write`);
}

/**
 * Root passes every permission check. If uid 0 is denied something, the server treats it as another user. A right that every
 * user has shows nothing.
 */
async function rootSquash(visit: ServerVisit): Promise<Verdict> {
  const { handle, attributes } = rootOf(visit);
  const squashed = warning('uid 0 seems to be squashed: the server takes it for somebody else.', UNSQUASH);
  const { mode, uid, gid } = attributes;
  try {
    const bits = await granted(visit, handle, ownCredential(visit.config.identity));
    if ((bits & Access.LOOKUP) === 0 || (bits & Access.READ) === 0) return squashed;
    if ((bits & Access.MODIFY) !== 0)
      return ok((mode & 0o002) === 0 ? 'no sign of it' : 'cannot be told: everybody may write here');
    if (uid === 0)
      return warning('uid 0 may not write: it is squashed, or the export is read-only.', UNSQUASH);
    // ACCESS changes nothing, so it may be asked in the owner's name. On a read-only export the owner may not write either.
    const owner = authSysCredential({ machineName: '', uid, gid, groups: [] });
    const ofOwner = await granted(visit, handle, owner);
    return (ofOwner & Access.MODIFY) !== 0 ? squashed : ok('cannot be told: nobody may write here');
  } catch (error) {
    return visit.explain(error);
  }
}

async function sizes(visit: ServerVisit): Promise<Verdict> {
  const { handle } = rootOf(visit);
  const result = await visit.nfs((rpc) =>
    rpc.call(FSINFO, { object: handle }, { credential: ownCredential(visit.config.identity) }),
  );
  if (result.status !== Status.OK) {
    const what = `The server does not tell them (FSINFO: ${statusName(result.status)}).`;
    return isStale(result.status)
      ? visit.explain(statusError(result.status))
      : warning(what, 'Mounting goes on with 1 MiB; rsize= and wsize= set something else.');
  }
  const { rtmax, wtmax, dtpref } = result;
  const list = `READ ${shown(rtmax)}, WRITE ${shown(wtmax)}, directories ${shown(dtpref)}`;
  if (rtmax >= SMALL_TRANSFER && wtmax >= SMALL_TRANSFER) return ok(list);
  return warning(
    `They are small, and make reading and writing slow: ${list}.`,
    'Raise them on the server: /proc/fs/nfsd/max_block_size before nfsd starts, or MaxRead and MaxWrite of ' +
      'nfs-ganesha, to 1 MiB.',
  );
}

function shown(bytes: number): string {
  if (bytes > 0 && bytes % (1024 * 1024) === 0) return `${bytes / (1024 * 1024)} MiB`;
  return bytes > 0 && bytes % 1024 === 0 ? `${bytes / 1024} KiB` : `${bytes} bytes`;
}

/** Without writing, only a clock that is ahead can be noticed, by a ctime: servers set ctimes by their own clock. */
function clock(visit: ServerVisit): Verdict {
  const { ctime } = rootOf(visit).attributes;
  const aheadMs = ctime.seconds * 1000 + ctime.nanoseconds / 1e6 - Date.now();
  if (aheadMs <= CLOCK_TOLERANCE_MS) return ok('no sign of a difference');
  return warning(
    `The server's clock is at least ${Math.round(aheadMs / 1000)} s ahead of this machine's.`,
    'Keep both clocks by NTP (chronyd, systemd-timesyncd): programs compare times of files with the time of day.',
  );
}
