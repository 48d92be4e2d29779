/** The NFS half of a mock server: the root of an export with the attributes, rights and sizes that a test sets. */
import { MountStatus } from '../../../lib/programs/mount3/index.js';
import {
  ACCESS,
  Access,
  type Fattr3,
  FileType,
  FSINFO,
  type Fsinfo,
  fileHandleFromBytes,
  GETATTR,
  NFS_PROGRAM,
  Status,
} from '../../../lib/programs/nfs3/index.js';
import { handle, type ServerCall } from '../../../lib/rpc/index.js';
import { exported, type MockOptions } from './mock-server.js';

const HANDLE = fileHandleFromBytes(Buffer.of(1));
export const EVERYTHING =
  Access.READ | Access.LOOKUP | Access.MODIFY | Access.EXTEND | Access.DELETE | Access.EXECUTE;

export interface RootOptions {
  readonly attributes?: Partial<Fattr3>;
  /** The rights that ACCESS grants a caller, out of those that are asked for; all of them by default. */
  readonly access?: (call: ServerCall) => number;
  readonly sizes?: Partial<Fsinfo>;
  readonly flavors?: readonly number[];
}

/** Options of a mock server that exports `/export` to everybody. */
export function mockRoot(options: RootOptions = {}): MockOptions {
  const hour = { seconds: Math.floor(Date.now() / 1000) - 3600, nanoseconds: 0 };
  const attributes: Fattr3 = {
    type: FileType.DIR,
    mode: 0o755,
    nlink: 2,
    uid: 0,
    gid: 0,
    size: 4096n,
    used: 4096n,
    rdevMajor: 0,
    rdevMinor: 0,
    fsid: 1n,
    fileid: 2n,
    atime: hour,
    mtime: hour,
    ctime: hour,
    ...options.attributes,
  };
  const mebibyte = 1024 * 1024;
  const sizes: Fsinfo = {
    rtmax: mebibyte,
    rtpref: mebibyte,
    rtmult: 4096,
    wtmax: mebibyte,
    wtpref: mebibyte,
    wtmult: 4096,
    dtpref: mebibyte,
    maxFileSize: 2n ** 40n,
    timeDelta: { seconds: 0, nanoseconds: 1 },
    properties: 0,
    ...options.sizes,
  };
  const { access = () => EVERYTHING, flavors = [1] } = options;
  return {
    exports: [exported('/export')],
    mnt: () => ({ status: MountStatus.OK, grant: { handle: HANDLE, flavors } }),
    programs: [
      {
        program: NFS_PROGRAM,
        procedures: [
          handle(GETATTR, () => ({ status: Status.OK, attributes })),
          handle(ACCESS, (args, call) => ({
            status: Status.OK,
            attributes,
            access: access(call) & args.access,
          })),
          handle(FSINFO, () => ({ status: Status.OK, attributes, ...sizes })),
        ],
      },
    ],
  };
}
