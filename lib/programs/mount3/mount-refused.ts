/** The refusals of mountd, in words that a user can act on. */
import { MountStatus, mountStatusName } from './types.js';

const REASONS: Readonly<Record<number, string>> = {
  [MountStatus.PERM]: 'the server allows this to privileged clients only',
  [MountStatus.NOENT]:
    'there is no such directory on the server (`nfs-fuse exports SERVER` lists what it exports)',
  [MountStatus.IO]: 'the server had an I/O error',
  [MountStatus.ACCES]:
    'the server does not export it to this client, or takes only clients with a source port below 1024: ' +
    'check the client list of the export, and add `insecure` to its options or mount with `resvport`',
  [MountStatus.NOTDIR]: 'it is not a directory',
  [MountStatus.INVAL]: 'the server finds the request invalid',
  [MountStatus.NAMETOOLONG]: 'the path is too long for the server',
  [MountStatus.NOTSUPP]: 'the server does not support the request',
  [MountStatus.SERVERFAULT]: 'the server failed internally',
};

/** MNT was answered with an error status. */
export class MountRefused extends Error {
  readonly status: MountStatus;

  constructor(server: string, path: Uint8Array, status: MountStatus) {
    const directory = Buffer.from(path).toString('utf8');
    super(
      `cannot mount ${server}:${directory}: ${REASONS[status] ?? 'refused'} (${mountStatusName(status)})`,
    );
    this.name = 'MountRefused';
    this.status = status;
  }

  /** As the RFC spells it: "MNT3ERR_ACCES". */
  get statusName(): string {
    return mountStatusName(this.status);
  }
}
