/** `nfs-fuse sweep`: lists the `.nfsXXXX` files that crashed clients left in an export, and removes them. */
import { loggerTo } from '../../base/log.js';
import { shownJson, shownName } from '../../base/shown-name.js';
import { mountFailure } from '../../mount/failure/mount-failure.js';
import { parseMountRequest } from '../../mount/options/mount-options.js';
import { exportsForExplanation } from '../../mount/server/server-exports.js';
import { Credentials, unattended } from '../../vfs/caller/caller.js';
import { ownServerIds } from '../../vfs/caller/own-identity.js';
import { findLeftovers, type Leftover, removeLeftover } from '../../vfs/directories/sweep.js';
import { openExport } from '../../vfs/open-export.js';
import { ExportSession } from '../../vfs/remote/export-session.js';
import { parseAge } from '../age.js';
import type { Command, Output } from '../command.js';

interface SweepArguments {
  readonly source: string;
  readonly options: string[] | undefined;
  readonly 'older-than': string;
  readonly delete: boolean | undefined;
  readonly json: boolean | undefined;
}

/** One line of the JSON output. */
interface SweepRecord {
  readonly path: string;
  readonly bytes: number;
  readonly ageSeconds: number;
  readonly removed: boolean;
  readonly error?: string;
}

export const sweepCommand: Command<SweepArguments> = {
  syntax: 'sweep <source>',
  describe: 'List, and with --delete remove, the .nfsXXXX files that crashed clients left behind',
  arguments: (args) =>
    args
      .positional('source', { describe: 'server:/export', type: 'string', demandOption: true })
      .option('options', {
        alias: 'o',
        describe: 'Mount options that say how to reach it',
        type: 'string',
        array: true,
        nargs: 1,
        requiresArg: true,
      })
      .option('older-than', {
        describe:
          'Only what was left so long ago: 30m, 12h, 7d. A younger file may be in use by a client that lives',
        type: 'string',
        default: '7d',
        requiresArg: true,
      })
      .option('delete', { describe: 'Remove them; without it they are only listed', type: 'boolean' })
      .option('json', { describe: 'Print one JSON object per file', type: 'boolean' })
      .example('$0 sweep server:/export', 'A dry run')
      .example('$0 sweep server:/export --older-than 30d --delete', ''),
  run: sweep,
};

async function sweep(args: SweepArguments, output: Output): Promise<number> {
  const { client } = parseMountRequest(args.source, args.options ?? []);
  const olderThanMs = parseAge(args['older-than']);
  const log = loggerTo(output.tell);
  let session: ExportSession;
  try {
    session = await ExportSession.connect(client, { log });
  } catch (error) {
    throw await mountFailure(error, client, () => exportsForExplanation(client));
  }
  let failures = 0;
  try {
    const vfs = openExport(session, client, { log });
    const credentials = new Credentials({ machineName: session.machineName, now: vfs.clock.now });
    const { uid, gid, groups } = ownServerIds(vfs.identity);
    const caller = unattended(credentials.of(uid, gid, groups));
    const unreadable = (path: string, error: unknown): void => {
      failures++;
      log.warn(`${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    };
    let count = 0;
    let bytes = 0n;
    for await (const leftover of findLeftovers(vfs, caller, { olderThanMs, nowMs: Date.now(), unreadable })) {
      const error = args.delete === true ? await removeLeftover(vfs, leftover, caller) : undefined;
      if (error !== undefined) failures++;
      count++;
      bytes += leftover.bytes;
      output.print(
        args.json === true ? jsonLine(leftover, args.delete === true, error) : textLine(leftover, error),
      );
    }
    if (args.json !== true) output.print(summary(count, bytes, args.delete === true, failures));
  } finally {
    await session.close();
  }
  return failures === 0 ? 0 : 1;
}

function jsonLine(leftover: Leftover, wanted: boolean, error: string | undefined): string {
  const record: SweepRecord = {
    path: leftover.path,
    bytes: Number(leftover.bytes),
    ageSeconds: Math.round(leftover.ageMs / 1000),
    removed: wanted && error === undefined,
    ...(error === undefined ? {} : { error }),
  };
  return `${shownJson(record)}\n`;
}

function textLine(leftover: Leftover, error: string | undefined): string {
  const days = (leftover.ageMs / 86_400_000).toFixed(1);
  const fate = error === undefined ? '' : `  not removed: ${shownName(error)}`;
  return `${leftover.path}  ${leftover.bytes} bytes, ${days} days old${fate}\n`;
}

function summary(count: number, bytes: bigint, removed: boolean, failures: number): string {
  if (count === 0) return failures === 0 ? 'No leftovers.\n' : 'No leftovers where it could be looked.\n';
  const files = count === 1 ? '1 file' : `${count} files`;
  if (!removed) return `${files}, ${bytes} bytes. Nothing was removed; --delete does that.\n`;
  return `${files}, ${bytes} bytes${failures === 0 ? ': removed' : `, ${failures} problems`}.\n`;
}
