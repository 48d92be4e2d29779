/** Which function carries out which procedure of NFS version 3. */
import * as nfs3 from '../../programs/nfs3/index.js';
import {
  handle as rpcHandle,
  type ServerCall,
  type ServerProcedure,
} from '../../rpc/server/server-procedure.js';
import type { Procedure } from '../../rpc/wire/procedure.js';
import type { ServedUser } from '../served-users.js';
import type { ExportedTree } from '../tree/tree.js';
import { access, getattr, readlink, setattr } from './attribute-operations.js';
import { commit, read, write } from './data-operations.js';
import { readdir, readdirplus } from './directory-operations.js';
import { fsinfo, fsstat, pathconf } from './filesystem-operations.js';
import { create, mkdir, mknod, symlink } from './make-operations.js';
import { link, lookup, remove, rename, rmdir } from './name-operations.js';

export type Operation<Arguments, Result> = (
  tree: ExportedTree,
  args: Arguments,
  caller: ServedUser,
) => Result | Promise<Result>;

/** Carries an operation out: finds the caller and the tree, counts the call, and adds faults. */
export type Dispatch = <Arguments, Result>(
  name: nfs3.ProcedureName,
  operation: Operation<Arguments, Result>,
  args: Arguments,
  call: ServerCall,
) => Result | Promise<Result>;

/** All 22 procedures, for RpcServer.register. `replayCache`: see the server's option. */
export function nfsProcedures(dispatch: Dispatch, replayCache: boolean): ServerProcedure[] {
  const serve = <Arguments, Result>(
    procedure: Procedure<Arguments, Result>,
    operation: Operation<Arguments, Result>,
    idempotent = true,
  ): ServerProcedure => {
    const name = procedure.name as nfs3.ProcedureName;
    return rpcHandle(procedure, (args, call) => dispatch(name, operation, args, call), {
      idempotent: idempotent || !replayCache,
    });
  };
  return [
    serve(nfs3.NULL, () => undefined),
    serve(nfs3.GETATTR, getattr),
    serve(nfs3.SETATTR, setattr, false),
    serve(nfs3.LOOKUP, lookup),
    serve(nfs3.ACCESS, access),
    serve(nfs3.READLINK, readlink),
    serve(nfs3.READ, read),
    serve(nfs3.WRITE, write),
    serve(nfs3.CREATE, create, false),
    serve(nfs3.MKDIR, mkdir, false),
    serve(nfs3.SYMLINK, symlink, false),
    serve(nfs3.MKNOD, mknod, false),
    serve(nfs3.REMOVE, remove, false),
    serve(nfs3.RMDIR, rmdir, false),
    serve(nfs3.RENAME, rename, false),
    serve(nfs3.LINK, link, false),
    serve(nfs3.READDIR, readdir),
    serve(nfs3.READDIRPLUS, readdirplus),
    serve(nfs3.FSSTAT, fsstat),
    serve(nfs3.FSINFO, fsinfo),
    serve(nfs3.PATHCONF, pathconf),
    serve(nfs3.COMMIT, commit),
  ];
}
