/**
 * A client of a real lock manager, in the network that this program is started in: a lock waits, its holder unlocks, and the
 * server's grant comes through the listener. Prints what happened as JSON (see Report), or why the listener cannot be had.
 *
 *   node --import=tsx test/lock-listener/support/waiter-main.ts SETTING        SETTING: JSON, see Setting
 */
import { LockListenerError, ownAddressTowards, startLockListener } from '../../../lib/lock-listener/index.js';
import { MOUNT_PROGRAM, Mount3Client } from '../../../lib/programs/mount3/index.js';
import * as nfs from '../../../lib/programs/nfs3/index.js';
import { LockStatus, NLM_PROGRAM, type TestArguments } from '../../../lib/programs/nlm4/index.js';
import { programService } from '../../../lib/programs/program-service.js';
import type { Procedure, Program, RpcCaller } from '../../../lib/rpc/index.js';
import { LockClient } from '../../server/support/lock-clients.js';
import { made, ROOT } from '../../server/support/rig.js';
import { until } from '../../support/process.js';

export interface Setting {
  readonly host: string;
  readonly exportPath: string;
  /** Undefined: the server's port mapper is asked. */
  readonly port?: number | undefined;
  readonly mountPort?: number | undefined;
  readonly lockPort?: number | undefined;
  readonly protocol: 'tcp' | 'udp';
}

export interface Grant {
  readonly svid: number;
  readonly ownerHandle: string;
  readonly offset: string;
  readonly length: string;
  readonly exclusive: boolean;
}

export interface Report {
  /** The listener cannot be had. Nothing else was tried. */
  readonly problem?: string;
  /** The answers to the calls, in order. */
  readonly statuses: readonly string[];
  /** The grants that were heard of. */
  readonly grants: readonly Grant[];
  /** The answers that the server has taken. */
  readonly answers: readonly string[];
}

const setting = JSON.parse(process.argv[2] ?? '') as Setting;
const { host, protocol } = setting;
const RANGE = { offset: 100n, length: 50n };

const service = (program: Program, port: number | undefined) =>
  programService(program, { host, port, protocol }, { recovery: 'soft' });

/** A new file of the export. */
async function newFile(): Promise<nfs.FileHandle> {
  const { handle } = await service(MOUNT_PROGRAM, setting.mountPort).ask((rpc) =>
    new Mount3Client(rpc, ROOT, host).mount(Buffer.from(setting.exportPath)),
  );
  const where = { directory: handle, name: nfs.fileNameFromText(`file-${process.pid}`) };
  const how = { mode: nfs.CreateMode.UNCHECKED, attributes: {} } as const;
  return service(nfs.NFS_PROGRAM, setting.port).ask(async (rpc) =>
    made(await rpc.call(nfs.CREATE, { where, how }, { credential: ROOT })),
  );
}

async function report(): Promise<Report> {
  const locks = service(NLM_PROGRAM, setting.lockPort);
  const rpc = locks.open(await locks.port());
  const statuses: string[] = [];
  const granted: TestArguments[] = [];
  const answers: string[] = [];
  const answerTo: RpcCaller = {
    async call<Arguments, Result>(...parts: Parameters<typeof rpc.call<Arguments, Result>>): Promise<Result> {
      const [procedure, args]: [Procedure<Arguments, Result>, Arguments, unknown] = parts;
      const result = await rpc.call(...parts);
      answers.push(`${procedure.name} ${(args as { status?: number }).status}`);
      return result;
    },
    close: () => rpc.close(),
  };
  /** The owner whose grants are wanted. */
  let wanted = 0;
  const listener = await startLockListener({
    addresses: [await ownAddressTowards(host)],
    isServer: (peer) => peer === host,
    onGranted: (args) => granted.push(args) > 0 && args.lock.svid === wanted,
    answerTo,
    credential: ROOT,
    log: { info: () => {}, warn: console.error, error: console.error },
  });
  try {
    const file = await newFile();
    const said = async (status: Promise<string>) => void statuses.push(await status);
    const owner = (svid: number) => new LockClient(rpc, file, svid);
    const [holder, waiter, unwanted] = [owner(1), owner(2), owner(3)];
    for (const next of [waiter, unwanted]) {
      wanted = waiter.svid;
      const [grants, count] = [granted.length, answers.length];
      await said(holder.lock());
      await said(next.wait(RANGE));
      await said(holder.unlock());
      await until('the server tells of the grant', () => granted.length > grants);
      await until('the server takes the answer', () => answers.length > count);
      if (next === waiter) await said(holder.lock());
      await said(next.unlock(RANGE));
    }
    await said(holder.lock());
    await said(holder.unlock());
  } finally {
    await listener.close();
    rpc.close();
  }
  return {
    statuses,
    answers: answers.map((answer) =>
      answer.replace(` ${LockStatus.GRANTED}`, ' GRANTED').replace(` ${LockStatus.DENIED}`, ' DENIED'),
    ),
    grants: granted.map(({ exclusive, lock: { svid, ownerHandle, offset, length } }) => ({
      ...{ svid, ownerHandle, exclusive },
      ...{ offset: String(offset), length: String(length) },
    })),
  };
}

try {
  console.log(JSON.stringify(await report()));
} catch (error) {
  if (!(error instanceof LockListenerError)) throw error;
  console.log(
    JSON.stringify({ problem: error.problem, statuses: [], grants: [], answers: [] } satisfies Report),
  );
}
