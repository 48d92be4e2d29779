/** `nfs-fuse locks`: shows the locks that programs hold at the server through a mount, and those they wait for. */
import { readFileSync } from 'node:fs';
import type { Argv } from 'yargs';
import { shownJson, shownName } from '../../base/shown-name.js';
import { absolutePath } from '../../base/utf8-path.js';
import { lockCount, releaseLeftLocks } from '../../mount/reach/left-locks.js';
import type { ShownLock } from '../../mount/serve/lock-stats.js';
import { type Command, withMountpoint } from '../command.js';
import { statsOf } from '../stats/asking.js';

interface LocksArguments {
  readonly mountpoint: string;
  readonly json: boolean | undefined;
  readonly 'release-left': boolean | undefined;
}

export const locksCommand: Command<LocksArguments> = {
  syntax: 'locks <mountpoint>',
  describe: 'Show the locks that programs hold at the server, or wait for',
  arguments: (args: Argv) =>
    withMountpoint(args).option('json', { describe: 'Print JSON', type: 'boolean' }).option('release-left', {
      describe: 'Release the locks that a killed mount has left, as the next mount does',
      type: 'boolean',
    }),
  run: async (args, output) => {
    if (args['release-left'] === true) return release(args.mountpoint, args.json === true, output.print);
    const { locks } = await statsOf(args.mountpoint);
    const shown = (locks?.locks ?? []).map((lock) => ({ ...lock, command: commandOf(lock.pid) }));
    if (args.json === true) {
      const { held, waiting } = locks ?? { held: 0, waiting: 0 };
      output.print(`${shownJson({ atServer: locks !== undefined, held, waiting, locks: shown }, 2)}\n`);
    } else if (locks === undefined) {
      output.print('The kernel keeps the locks of this mount: they exclude only its own programs.\n');
    } else output.print(table(shown));
    return 0;
  },
};

async function release(mountpoint: string, json: boolean, print: (text: string) => void): Promise<number> {
  const { released, failed, why } = await releaseLeftLocks(absolutePath(mountpoint));
  if (json) print(`${JSON.stringify({ released, failed, ...(why === undefined ? {} : { why }) })}\n`);
  else {
    print(`Released ${lockCount(released)}.\n`);
    if (failed > 0) print(`The server keeps ${lockCount(failed)}: ${why}.\n`);
  }
  return failed > 0 ? 1 : 0;
}

type NamedLock = ShownLock & { readonly command: string };

function table(locks: readonly NamedLock[]): string {
  if (locks.length === 0) return 'No locks of this mount’s programs.\n';
  const rows = locks.map(({ state, kind, flock, start, end, seconds, pid, command, path }) => [
    state,
    kind,
    flock ? 'flock' : 'fcntl',
    end === null ? `${start}-` : `${start}-${end}`,
    `${seconds} s`,
    pid === 0 ? '-' : String(pid),
    command,
    path,
  ]);
  rows.unshift(['State', 'Kind', 'Call', 'Bytes', 'Since', 'Process', 'Command', 'File']);
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  // Paths and commands may hold anything.
  return `${lines.map((line) => shownName(line.trimEnd())).join('\n')}\n`;
}

/** The name of a process as this process sees it; "" where it cannot. */
function commandOf(pid: number): string {
  if (pid === 0) return '';
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trimEnd();
  } catch {
    return '';
  }
}
