/** A case for each of the 22 procedures: how to make arguments and results of it by chance. */
import * as nfs from '../../../lib/programs/nfs3/index.js';
import type { Procedure } from '../../../lib/rpc/wire/procedure.js';
import type { Generator } from './generator.js';

export interface Case<Arguments, Result> {
  readonly procedure: Procedure<Arguments, Result>;
  readonly args: (g: Generator) => Arguments;
  readonly result: (g: Generator) => Result;
}

/** A case with its types forgotten: the parts fit, as `define` saw. */
export type AnyCase = Case<unknown, unknown>;

export function define<Arguments, Result>(
  procedure: Procedure<Arguments, Result>,
  args: (g: Generator) => Arguments,
  result: (g: Generator) => Result,
): AnyCase {
  return { procedure, args, result } as unknown as AnyCase;
}

const { Status } = nfs;
const object = (g: Generator) => ({ object: g.handle() });
const status = Status.OK;

/** A listing, or the failure of one. */
function page<Entry>(g: Generator, entry: () => Entry) {
  const directoryAttributes = g.maybe(() => g.attributes());
  const entries = g.list(20, entry);
  return g.either(
    { status, directoryAttributes, cookieVerifier: g.fixed(8), entries, eof: g.bool() },
    { status: g.failure(), directoryAttributes },
  );
}

/** In the order of their numbers. */
export const cases: readonly AnyCase[] = [
  define(
    nfs.NULL,
    () => undefined,
    () => undefined,
  ),
  define(nfs.GETATTR, object, (g) =>
    g.either<nfs.GetattrResult>({ status, attributes: g.attributes() }, { status: g.failure() }),
  ),
  define(
    nfs.SETATTR,
    (g) => ({ ...object(g), attributes: g.newAttributes(), guard: g.maybe(() => g.time()) }),
    (g) => ({ status: g.status(), wcc: g.wcc() }),
  ),
  define(
    nfs.LOOKUP,
    (g) => g.directoryName(),
    (g) => {
      const directoryAttributes = g.maybe(() => g.attributes());
      const attributes = g.maybe(() => g.attributes());
      return g.either<nfs.LookupResult>(
        { status, object: g.handle(), attributes, directoryAttributes },
        { status: g.failure(), directoryAttributes },
      );
    },
  ),
  define(
    nfs.ACCESS,
    (g) => ({ ...object(g), access: g.uint32() }),
    (g) => {
      const attributes = g.maybe(() => g.attributes());
      return g.either<nfs.AccessResult>(
        { status, attributes, access: g.uint32() },
        { status: g.failure(), attributes },
      );
    },
  ),
  define(
    nfs.READLINK,
    (g) => ({ symlink: g.handle() }),
    (g) => {
      const attributes = g.maybe(() => g.attributes());
      const target = g.bytes(nfs.MAX_PATH);
      return g.either<nfs.ReadlinkResult>(
        { status, attributes, target },
        { status: g.failure(), attributes },
      );
    },
  ),
  define(
    nfs.READ,
    (g) => ({ file: g.handle(), offset: g.offset(), count: g.uint32() }),
    (g) => {
      const attributes = g.maybe(() => g.attributes());
      return g.either<nfs.ReadResult>(
        { status, attributes, eof: g.bool(), data: g.bytes(20_000) },
        { status: g.failure(), attributes },
      );
    },
  ),
  define(
    nfs.WRITE,
    (g) => ({ file: g.handle(), offset: g.offset(), stable: g.stable(), data: g.bytes(20_000) }),
    (g) => {
      const wcc = g.wcc();
      return g.either<nfs.WriteResult>(
        { status, wcc, count: g.uint32(), committed: g.stable(), verifier: g.verifierText() },
        { status: g.failure(), wcc },
      );
    },
  ),
  define(
    nfs.CREATE,
    (g) => ({
      where: g.directoryName(),
      how: g.either<nfs.CreateHow>(
        { mode: g.pick([nfs.CreateMode.UNCHECKED, nfs.CreateMode.GUARDED]), attributes: g.newAttributes() },
        { mode: nfs.CreateMode.EXCLUSIVE, verifier: g.fixed(8) },
      ),
    }),
    (g) => g.makeResult(),
  ),
  define(
    nfs.MKDIR,
    (g) => ({ where: g.directoryName(), attributes: g.newAttributes() }),
    (g) => g.makeResult(),
  ),
  define(
    nfs.SYMLINK,
    (g) => ({ where: g.directoryName(), attributes: g.newAttributes(), target: g.bytes(nfs.MAX_PATH) }),
    (g) => g.makeResult(),
  ),
  define(
    nfs.MKNOD,
    (g) => ({ where: g.directoryName(), what: g.special() }),
    (g) => g.makeResult(),
  ),
  ...[nfs.REMOVE, nfs.RMDIR].map((procedure) =>
    define(
      procedure,
      (g) => g.directoryName(),
      (g) => ({ status: g.status(), wcc: g.wcc() }),
    ),
  ),
  define(
    nfs.RENAME,
    (g) => ({ from: g.directoryName(), to: g.directoryName() }),
    (g) => ({ status: g.status(), fromWcc: g.wcc(), toWcc: g.wcc() }),
  ),
  define(
    nfs.LINK,
    (g) => ({ file: g.handle(), link: g.directoryName() }),
    (g) => ({ status: g.status(), attributes: g.maybe(() => g.attributes()), directoryWcc: g.wcc() }),
  ),
  define(
    nfs.READDIR,
    (g) => ({ directory: g.handle(), cookie: g.uint64(), cookieVerifier: g.fixed(8), count: g.uint32() }),
    (g): nfs.ReaddirResult => page(g, () => g.entry()),
  ),
  define(
    nfs.READDIRPLUS,
    (g) => ({
      directory: g.handle(),
      cookie: g.uint64(),
      cookieVerifier: g.fixed(8),
      dircount: g.uint32(),
      maxcount: g.uint32(),
    }),
    (g): nfs.ReaddirplusResult =>
      page(g, () => ({
        ...g.entry(),
        attributes: g.maybe(() => g.attributes()),
        handle: g.maybe(() => g.handle()),
      })),
  ),
  define(nfs.FSSTAT, object, (g) => {
    const attributes = g.maybe(() => g.attributes());
    const numbers = {
      totalBytes: g.uint64(),
      freeBytes: g.uint64(),
      availableBytes: g.uint64(),
      totalFiles: g.uint64(),
      freeFiles: g.uint64(),
      availableFiles: g.uint64(),
      invariantSeconds: g.uint32(),
    };
    return g.either<nfs.FsstatResult>(
      { status, attributes, ...numbers },
      { status: g.failure(), attributes },
    );
  }),
  define(nfs.FSINFO, object, (g) => {
    const attributes = g.maybe(() => g.attributes());
    const numbers = {
      rtmax: g.uint32(),
      rtpref: g.uint32(),
      rtmult: g.uint32(),
      wtmax: g.uint32(),
      wtpref: g.uint32(),
      wtmult: g.uint32(),
      dtpref: g.uint32(),
      maxFileSize: g.uint64(),
      timeDelta: { seconds: g.uint32(), nanoseconds: g.uint32() },
      properties: g.uint32(),
    };
    return g.either<nfs.FsinfoResult>(
      { status, attributes, ...numbers },
      { status: g.failure(), attributes },
    );
  }),
  define(nfs.PATHCONF, object, (g) => {
    const attributes = g.maybe(() => g.attributes());
    const answers = {
      linkMax: g.uint32(),
      nameMax: g.uint32(),
      noTrunc: g.bool(),
      chownRestricted: g.bool(),
      caseInsensitive: g.bool(),
      casePreserving: g.bool(),
    };
    return g.either<nfs.PathconfResult>(
      { status, attributes, ...answers },
      { status: g.failure(), attributes },
    );
  }),
  define(
    nfs.COMMIT,
    (g) => ({ file: g.handle(), offset: g.offset(), count: g.uint32() }),
    (g) => {
      const wcc = g.wcc();
      return g.either<nfs.CommitResult>(
        { status, wcc, verifier: g.verifierText() },
        { status: g.failure(), wcc },
      );
    },
  ),
];
