/**
 * The rights of a caller by the owner, group and mode that an object is shown with. They count where uid= or gid= make
 * several callers one user of the server: the server cannot tell them apart, so the client has to. Pure.
 */
import { Access, FileType } from '../../programs/nfs3/constants.js';
import type { Fattr3 } from '../../programs/nfs3/index.js';

/** The owner, group and mode of an object, in the server's ids. */
export type Ownership = Pick<Fattr3, 'uid' | 'gid' | 'mode' | 'type'>;

const R = 4;
const W = 2;
const X = 1;

export interface ClaimOptions {
  /** Whether an object that the server names as this user's is shown as the caller's own. */
  readonly isUser: (serverUid: number) => boolean;
  /** Whether an object of this group of the server is shown as one of a group that the caller is in. */
  readonly isMember: (serverGid: number) => boolean;
}

export class Claim {
  readonly #options: ClaimOptions;

  constructor(options: ClaimOptions) {
    this.#options = options;
  }

  owns({ uid }: Pick<Ownership, 'uid'>): boolean {
    return this.#options.isUser(uid);
  }

  isMember(serverGid: number): boolean {
    return this.#options.isMember(serverGid);
  }

  /** The three mode bits that count for the caller. As for any Unix: the owner's alone, or else the group's alone. */
  #bits(object: Ownership): number {
    if (this.owns(object)) return (object.mode >> 6) & 7;
    return (this.isMember(object.gid) ? object.mode >> 3 : object.mode) & 7;
  }

  /** The bits of ACCESS (RFC 1813 3.3.4) that the caller is entitled to. */
  access(object: Ownership): number {
    const bits = this.#bits(object);
    const isDirectory = object.type === FileType.DIR;
    let granted = 0;
    if ((bits & R) !== 0) granted |= Access.READ;
    if ((bits & W) !== 0) granted |= Access.MODIFY | Access.EXTEND | (isDirectory ? Access.DELETE : 0);
    if ((bits & X) !== 0) granted |= isDirectory ? Access.LOOKUP : Access.EXECUTE;
    return granted;
  }
}
