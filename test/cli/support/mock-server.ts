/** A server on its own port that answers MOUNT as a test sets it. It answers NFS only if the test gives procedures. */
import {
  type ExportEntry,
  MOUNT_PROGRAM,
  type MountResult,
  MountStatus,
  mountProcedures,
} from '../../../lib/programs/mount3/index.js';
import {
  handle,
  type Program,
  RpcServer,
  type RpcServerOptions,
  type ServerCall,
  type ServerProcedure,
} from '../../../lib/rpc/index.js';

export interface MockOptions extends RpcServerOptions {
  readonly host?: string;
  readonly port?: number;
  readonly mnt?: (path: string, call: ServerCall) => MountResult;
  readonly exports?: readonly ExportEntry[];
  readonly programs?: readonly {
    readonly program: Program;
    readonly procedures: readonly ServerProcedure[];
  }[];
}

export interface MockServer {
  readonly port: number;
  /** `port=…,mountport=…` */
  readonly options: string;
  /** The names of the MOUNT procedures called so far, in order. */
  readonly calls: readonly string[];
  close(): Promise<void>;
}

export function exported(directory: string, ...groups: string[]): ExportEntry {
  return { directory: Buffer.from(directory), groups: groups.map((group) => Buffer.from(group)) };
}

/** Listens on a free port of 127.0.0.1, unless told otherwise. */
export async function startMock(options: MockOptions = {}): Promise<MockServer> {
  const { mnt = () => ({ status: MountStatus.ACCES }), exports = [] } = options;
  const calls: string[] = [];
  const server = new RpcServer(options);
  server.register(MOUNT_PROGRAM, [
    handle(mountProcedures.MNT, (path, call) => {
      calls.push('MNT');
      return mnt(Buffer.from(path).toString(), call);
    }),
    handle(mountProcedures.UMNT, () => {
      calls.push('UMNT');
      return undefined;
    }),
    handle(mountProcedures.EXPORT, () => {
      calls.push('EXPORT');
      return exports;
    }),
  ]);
  for (const { program, procedures } of options.programs ?? []) server.register(program, procedures);
  const { port } = await server.listen({ host: options.host ?? '127.0.0.1', port: options.port ?? 0 });
  return { port, options: `port=${port},mountport=${port},nolock`, calls, close: () => server.close() };
}
