/**
 * An export as this process reaches it by itself, without a mount and without privilege: calls in its own name. Owns how long
 * such calls wait, and how a refusal of the server becomes an error.
 */
import { type Logger, loggerTo } from '../base/log.js';
import { UserError } from '../base/user-error.js';
import { FuseError } from '../fuse/contract/errno.js';
import { mountFailure } from '../mount/failure/mount-failure.js';
import { parseMountRequest } from '../mount/options/mount-options.js';
import { exportsForExplanation } from '../mount/server/server-exports.js';
import {
  type ErrorStatus,
  type Fattr3,
  type FileHandle,
  type FileName,
  FileType,
  fileNameToText,
  GETATTR,
  LOOKUP,
  MKDIR,
  Status,
  statusName,
} from '../programs/nfs3/index.js';
import type { Procedure } from '../rpc/wire/procedure.js';
import { type Caller, Credentials, unattended } from '../vfs/caller/caller.js';
import { ownServerIds } from '../vfs/caller/own-identity.js';
import { openExport } from '../vfs/open-export.js';
import { ExportSession } from '../vfs/remote/export-session.js';
import type { VfsState } from '../vfs/vfs-state.js';

/** A mount waits for ever. Such a call may fail, since whoever wants the volume tries again. */
const MOST_TIMEO_MS = 10_000;
const MOST_RETRANS = 2;
const silent: Logger = loggerTo();

const AS_ROOT =
  'The driver is uid 0 for the server unless uid= and gid= say otherwise: export with no_root_squash, or add them.';

type Answered = { readonly status: Status };

/** An object on the server. */
export interface FoundObject {
  readonly handle: FileHandle;
  readonly attributes: Fattr3;
}

/** The server has refused a call about `name`. */
export class ServerRefusal extends UserError {
  constructor(
    readonly status: ErrorStatus,
    name: FileName | undefined,
    /** The reason in a few words. */
    readonly why = statusName(status),
  ) {
    super(
      name === undefined
        ? `The server refuses: ${why}.`
        : `The server refuses "${fileNameToText(name)}": ${why}.`,
      { remedy: status === Status.PERM || status === Status.ACCES ? AS_ROOT : undefined },
    );
  }
}

export class ExportAccess {
  readonly #caller: Caller;

  private constructor(
    private readonly session: ExportSession,
    private readonly vfs: VfsState,
  ) {
    const { uid, gid, groups } = ownServerIds(vfs.identity);
    const { machineName } = session;
    this.#caller = unattended(new Credentials({ machineName, now: vfs.clock.now }).of(uid, gid, groups));
  }

  /**
   * Reaches the export `target` with the texts `options` of -o.
   * @throws UserError for wrong options, and if the server cannot be reached or refuses
   */
  static async open(target: string, options: readonly string[]): Promise<ExportAccess> {
    const { client: asked } = parseMountRequest(target, options);
    const client = {
      ...asked,
      recovery: 'soft',
      locks: 'none',
      timeoMs: Math.min(asked.timeoMs, MOST_TIMEO_MS),
      retrans: Math.min(asked.retrans, MOST_RETRANS),
    } as const;
    let session: ExportSession;
    try {
      session = await ExportSession.connect(client, { log: silent });
    } catch (error) {
      throw await mountFailure(error, client, () => exportsForExplanation(client));
    }
    return new ExportAccess(session, openExport(session, client, { log: silent }));
  }

  /** The root of the export, with its attributes from when it was reached. */
  get root(): FoundObject {
    const { rootHandle: handle, rootAttributes: attributes } = this.session;
    return { handle, attributes };
  }

  /** The size in bytes of a directory listing that the server likes to send. */
  get listingBytes(): number {
    return this.session.limits.dtsize;
  }

  /** A call, whatever its status. @throws UserError if the server cannot be asked */
  async call<Given, Result extends Answered>(
    procedure: Procedure<Given, Result>,
    args: Given,
  ): Promise<Result> {
    try {
      return await this.vfs.nfs.call(procedure, args, this.#caller);
    } catch (error) {
      if (!(error instanceof FuseError)) throw error;
      const { host } = this.vfs.config;
      throw new UserError(`${host} cannot be asked: ${error.message}.`, { cause: error });
    }
  }

  /** A call that has to succeed. `name`: what it is about. @throws ServerRefusal */
  async must<Given, Result extends Answered>(
    procedure: Procedure<Given, Result>,
    args: Given,
    name?: FileName,
  ): Promise<Extract<Result, { readonly status: typeof Status.OK }>> {
    const result = await this.call(procedure, args);
    const { status } = result;
    if (status !== Status.OK) throw new ServerRefusal(status as ErrorStatus, name);
    return result as Extract<Result, { readonly status: typeof Status.OK }>;
  }

  /** Undefined: there is no such name. */
  async find(directory: FileHandle, name: FileName): Promise<FoundObject | undefined> {
    const found = await this.call(LOOKUP, { directory, name });
    if (found.status === Status.NOENT) return undefined;
    if (found.status !== Status.OK) throw new ServerRefusal(found.status, name);
    const handle = found.object;
    const attributes = found.attributes ?? (await this.must(GETATTR, { object: handle }, name)).attributes;
    return { handle, attributes };
  }

  /** The folder `name`. Undefined: there is none. A symbolic link in its place is refused: it could lead out of the export. */
  async findFolder(directory: FileHandle, name: FileName): Promise<FoundObject | undefined> {
    const found = await this.find(directory, name);
    if (found !== undefined && found.attributes.type !== FileType.DIR)
      throw new ServerRefusal(Status.NOTDIR, name, 'it exists, and is no folder');
    return found;
  }

  /** The folder `name`, which is made with this mode if there is none. */
  async needFolder(directory: FileHandle, name: FileName, mode: number): Promise<FoundObject> {
    const before = await this.findFolder(directory, name);
    if (before !== undefined) return before;
    const made = await this.call(MKDIR, { where: { directory, name }, attributes: { mode } });
    // Another machine may have made it at the same time.
    if (made.status !== Status.OK && made.status !== Status.EXIST) throw new ServerRefusal(made.status, name);
    const found = await this.findFolder(directory, name);
    if (found === undefined) throw new ServerRefusal(Status.NOENT, name);
    return found;
  }

  /** Says good-bye to the server. Never rejects. */
  close(): Promise<void> {
    return this.session.close();
  }
}
