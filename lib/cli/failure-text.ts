/** The failure of a command, as its user reads it. */
import { printable } from '../base/log.js';
import { lackBehind } from '../base/surroundings.js';
import { UserError } from '../base/user-error.js';

/** Says on standard error why the command has failed. Answers its exit status. */
export function fail(error: unknown): number {
  process.stderr.write(describe(error));
  return error instanceof UserError ? error.exitStatus : 1;
}

/** The failure on the first line and the remedy below; with NFS_FUSE_DEBUG also the causes. */
function describe(error: unknown): string {
  const debugging = process.env.NFS_FUSE_DEBUG !== undefined && process.env.NFS_FUSE_DEBUG !== '';
  const lines: string[] = [];
  const lack = lackBehind(error);
  if (lack !== undefined) lines.push(`nfs-fuse: ${lack.message}`, `          ${lack.remedy}`);
  else if (error instanceof UserError) {
    lines.push(`nfs-fuse: ${error.message}`);
    if (error.remedy !== undefined) lines.push(`          ${error.remedy}`);
  } else {
    const message = error instanceof Error ? error.message : String(error);
    lines.push(`nfs-fuse: Unexpected error: ${message}`);
    if (!debugging) lines.push('          Repeat with NFS_FUSE_DEBUG=1 in the environment to see where.');
  }
  if (debugging) {
    let cause: unknown = error;
    while (cause instanceof Error) {
      lines.push(cause.stack ?? cause.message);
      cause = cause.cause;
    }
  }
  return `${lines.map(printable).join('\n')}\n`;
}
