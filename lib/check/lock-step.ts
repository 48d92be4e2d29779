/** Checks whether locks hold between clients: asks the server's lock manager for a lock, and gives it back. */
import { randomInt } from 'node:crypto';
import { hostname } from 'node:os';
import { systemClock } from '../base/clock.js';
import { type FileHandle, FileType, READDIRPLUS, Status } from '../programs/nfs3/index.js';
import { LockStatus, lockProcedures, lockStatusName, NLM_PROGRAM } from '../programs/nlm4/index.js';
import { PortmapUnreachableError } from '../programs/portmap/index.js';
import type { RpcClient } from '../rpc/index.js';
import { ownCredential } from '../vfs/caller/own-identity.js';
import { LateCopies } from '../vfs/locks/late-copies.js';
import { LockCalls } from '../vfs/locks/lock-calls.js';
import { LockOwners } from '../vfs/locks/lock-owners.js';
import { wantsLockManager } from '../vfs/remote/lock-manager.js';
import type { ServerVisit } from './server-visit.js';
import { failure, ok, type Verdict, warning } from './step.js';

/** Where no program locks: sqlite and the like use the bytes around 2^30. */
const FAR_AWAY = 2n ** 62n;

export async function lockManager(visit: ServerVisit): Promise<Verdict> {
  const { config } = visit;
  const local = 'locks exclude only the programs of one mount';
  if (!wantsLockManager(config)) return ok(`not asked, as the options say; ${local}`);
  let port: number;
  try {
    port = await visit.service(NLM_PROGRAM, config.lockPort).port();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    // There may be one all the same.
    if (config.locks !== 'insist' && error instanceof PortmapUnreachableError)
      return warning(
        `It cannot be asked for without a portmapper: ${local}.`,
        'Give its port, as in -o nlmport=4045 (of nfs-fuse serve it is the port of everything else), or nolock.',
      );
    if (config.locks !== 'insist') return ok(`none is found (${reason}); ${local}`);
    return failure(
      `None is found (${reason}), and -o lock insists on one.`,
      'Start it on the server (knfsd: lockd; nfs-ganesha: Enable_NLM = true), give nlmport=, or leave lock out.',
    );
  }
  try {
    return await visit.service(NLM_PROGRAM, port).ask((rpc) => tryLock(visit, rpc, port));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const say = config.locks === 'insist' ? failure : warning;
    return say(
      `It does not answer on port ${port} (${reason}): ${local}.`,
      'Let this port through, or fix it on the server (a fixed port: nlmport=).',
    );
  }
}

async function tryLock(visit: ServerVisit, rpc: RpcClient, port: number): Promise<Verdict> {
  const credential = ownCredential(visit.config.identity);
  const there = `NLM ${NLM_PROGRAM.version} answers on port ${port}`;
  const handle = await someFile(visit);
  if (handle === undefined) {
    await rpc.call(lockProcedures.NULL, undefined, { credential });
    return ok(`${there}; no lock was tried, since the exported directory has no file that can be seen`);
  }
  const callerName = Buffer.from(hostname()).toString('latin1');
  const calls = new LockCalls(rpc, callerName, new LateCopies(systemClock));
  const owner = new LockOwners(callerName, () => randomInt(2 ** 31) / 2 ** 31).use(0n, false, process.pid);
  const range = { start: FAR_AWAY, end: FAR_AWAY };
  const { status } = await calls.lock(
    handle,
    { ...range, exclusive: false, owner },
    { block: false },
    credential,
  );
  await calls.unlock(handle, owner, range, credential);
  switch (status) {
    case LockStatus.GRANTED:
      return ok(`${there}; it granted a lock and took it back`);
    case LockStatus.DENIED:
      return ok(`${there}; somebody else has locked the file that was tried`);
    case LockStatus.DENIED_GRACE_PERIOD:
      return ok(`${there}; it has just started, and grants new locks when its grace period is over`);
    default:
      return warning(
        `${there}, but it grants no lock (${lockStatusName(status)}): programs that lock get an error.`,
        'Look into the log of the server; -o nolock does without it, and then locks exclude no other client.',
      );
  }
}

/** A file in the exported directory, among the first that the server lists. */
async function someFile(visit: ServerVisit): Promise<FileHandle | undefined> {
  const { grant, config } = visit;
  if (grant === undefined) return undefined;
  const args = {
    directory: grant.handle,
    cookie: 0n,
    cookieVerifier: new Uint8Array(8),
    dircount: 4096,
    maxcount: 32768,
  };
  const credential = ownCredential(config.identity);
  // A server without READDIRPLUS is no fault of its lock manager.
  const result = await visit.nfs((rpc) => rpc.call(READDIRPLUS, args, { credential })).catch(() => undefined);
  if (result?.status !== Status.OK) return undefined;
  return result.entries.find(({ attributes, handle }) => attributes?.type === FileType.REG && handle)?.handle;
}
