/** `nfs-fuse stats`: shows the work of a mount, or of all: so far, in intervals, or for Prometheus. */
import type { Argv } from 'yargs';
import { shownJson, shownName } from '../../base/shown-name.js';
import { UserError } from '../../base/user-error.js';
import { type MeasuredMount, metricsText, serverAndExport } from '../../mount/metrics/mount-metrics.js';
import type { Command, Output } from '../command.js';
import { type AskedMount, cannotBeAsked, mountsToAsk, statsOf, type ToldStats } from '../stats/asking.js';
import { statsText } from '../stats/stats-text.js';
import { watchMounts } from '../stats/watching.js';

interface StatsArguments {
  readonly mountpoint: string | undefined;
  readonly json: boolean | undefined;
  readonly interval: string | undefined;
  readonly count: string | undefined;
  readonly procedures: boolean | undefined;
  readonly prometheus: boolean | undefined;
}

/** More often than that, the asking itself would be a part of what is measured. */
const LEAST_INTERVAL_SECONDS = 0.1;
const MOST_INTERVAL_SECONDS = 86_400;

export const statsCommand: Command<StatsArguments> = {
  syntax: 'stats [mountpoint]',
  describe: 'Show what mounts have done: remote calls, caches, recoveries',
  arguments: (args: Argv) =>
    args
      .positional('mountpoint', {
        describe: 'Where an export is mounted; all mounts without it',
        type: 'string',
      })
      .option('json', { describe: 'Print JSON; with --interval, one object on each line', type: 'boolean' })
      .option('interval', {
        describe: 'Print the rates since the mount, and then those of every so many seconds',
        type: 'string',
        requiresArg: true,
      })
      .option('count', {
        describe: 'With --interval: end after so many reports',
        type: 'string',
        requiresArg: true,
      })
      .option('procedures', {
        describe: 'With --interval: every procedure that was called, not only READ, WRITE and the busiest',
        type: 'boolean',
      })
      .option('prometheus', { describe: 'Print metrics in the text format of Prometheus', type: 'boolean' }),
  run: async (args, output) => {
    checkTogether(args);
    if (args.interval !== undefined) return watch(args, args.interval, output);
    if (args.prometheus === true) return prometheus(args.mountpoint, output);
    if (args.mountpoint === undefined) return all(args.json === true, output);
    const stats = await statsOf(args.mountpoint);
    output.print(args.json === true ? `${shownJson(stats, 2)}\n` : textOrComplaint(args.mountpoint, stats));
    return 0;
  },
};

function checkTogether({ json, interval, count, procedures, prometheus }: StatsArguments): void {
  const wrong = (message: string, remedy: string) => new UserError(message, { remedy });
  if (prometheus === true && (json === true || interval !== undefined))
    throw wrong(
      '--prometheus has a format of its own, and shows the state of now.',
      'Leave out the other option.',
    );
  if (interval === undefined && (count !== undefined || procedures === true))
    throw wrong(
      '--count and --procedures are about the reports of --interval.',
      'Write --interval SECONDS as well.',
    );
}

async function watch(args: StatsArguments, interval: string, output: Output): Promise<number> {
  const ended = new AbortController();
  const end = (): void => ended.abort();
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.once(signal, end);
  output.onClosed(end);
  try {
    return await watchMounts(
      {
        path: args.mountpoint,
        intervalMs: intervalOf(interval) * 1_000,
        count: args.count === undefined ? undefined : countOf(args.count),
        json: args.json === true,
        allProcedures: args.procedures === true,
        ended: ended.signal,
      },
      output.print,
    );
  } finally {
    for (const signal of signals) process.off(signal, end);
  }
}

function intervalOf(text: string): number {
  const seconds = /^\d{1,5}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  if (seconds >= LEAST_INTERVAL_SECONDS && seconds <= MOST_INTERVAL_SECONDS) return seconds;
  throw new UserError(
    `--interval=${text} is not a number of seconds from ${LEAST_INTERVAL_SECONDS} to ${MOST_INTERVAL_SECONDS}.`,
    { remedy: 'Write a number without a unit: --interval 5.' },
  );
}

function countOf(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new UserError(`--count=${text} is not a number of reports.`, {
    remedy: 'Write a whole number from 1 on: --count 10.',
  });
}

async function prometheus(path: string | undefined, output: Output): Promise<number> {
  const mounts = await mountsToAsk(path);
  output.print(metricsText(await Promise.all(mounts.map(measured))));
  return 0;
}

async function measured(mount: AskedMount): Promise<MeasuredMount> {
  const { mountpoint, device } = mount;
  return { ...serverAndExport(mount.source), mountpoint, device, stats: await mount.ask() };
}

/** Exit status 1: a mount does not answer. It is named, and the others are shown all the same. */
async function all(json: boolean, output: Output): Promise<number> {
  const mounts = await mountsToAsk();
  if (json) {
    const answers = await Promise.all(
      mounts.map(async (mount) => (await mount.ask()) ?? withoutAnswer(mount)),
    );
    output.print(`${shownJson(answers, 2)}\n`);
    return answers.some((answer) => 'error' in answer) ? 1 : 0;
  }
  if (mounts.length === 0) output.print('Nothing is mounted by nfs-fuse here.\n');
  let shown = 0;
  let silent = 0;
  // Each is shown as soon as it has answered.
  await Promise.all(
    mounts.map(async (mount) => {
      const stats = await mount.ask();
      if (stats === undefined) {
        silent += 1;
        output.tell('error', `${shownName(mount.source)}: ${cannotBeAsked(mount.mountpoint)}`);
        return;
      }
      output.print(`${shown > 0 ? '\n' : ''}${textOrComplaint(mount.mountpoint, stats)}`);
      shown += 1;
    }),
  );
  return silent > 0 ? 1 : 0;
}

function withoutAnswer({ source, mountpoint }: AskedMount) {
  return { source, mountpoint, error: cannotBeAsked(mountpoint) };
}

/** A process of another version, or of another user, may answer in a way that cannot be shown. */
function textOrComplaint(mountpoint: string, stats: ToldStats): string {
  try {
    return statsText(stats);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return `The process that serves ${shownName(mountpoint)} answers in a way that this version does not know.\n`;
  }
}
