/** `nfs-fuse check`: tells whether mounting will work here, and what is missing; or whether a mount works. */
import { UserError } from '../../base/user-error.js';
import { environmentSteps } from '../../check/environment-steps.js';
import { mountSteps } from '../../check/mount-steps.js';
import { programSteps } from '../../check/program.js';
import { jsonOf, oneLine, Report } from '../../check/report.js';
import { serverSteps } from '../../check/server-steps.js';
import { ServerVisit } from '../../check/server-visit.js';
import { examineAll, type Finding, type Step } from '../../check/step.js';
import { parseMountRequest } from '../../mount/options/mount-options.js';
import type { Command, Output } from '../command.js';
import { type IdentityArguments, identityOptionTexts, withIdentityArguments } from '../identity-arguments.js';

const DEFAULT_TIMEOUT_SECONDS = '5';
/** A step makes at most so many calls, each with a limit of its own. */
const CALLS_PER_STEP = 4;
/** Without a target, the options are read with this one: allow_other matters for the machine alone, too. */
const NO_TARGET = 'localhost:/';

interface CheckArguments extends IdentityArguments {
  readonly target: string | undefined;
  readonly options: string[] | undefined;
  readonly mount: string | undefined;
  readonly timeout: string;
  readonly strict: boolean | undefined;
  readonly json: boolean | undefined;
}

interface Chapter {
  readonly heading: string;
  readonly steps: readonly Step[];
}

export const checkCommand: Command<CheckArguments> = {
  syntax: 'check [target]',
  describe: 'Say what is missing for mounting, and what to do about it; or whether a mount is well',
  arguments: (args) =>
    withIdentityArguments(args)
      .positional('target', {
        describe: 'server:/export, to look at the server too',
        type: 'string',
      })
      .option('options', {
        alias: 'o',
        describe: 'The mount options that are to be used',
        type: 'string',
        array: true,
        nargs: 1,
        requiresArg: true,
      })
      .option('mount', {
        describe: 'Only look whether this mount and its server answer (for health checks)',
        type: 'string',
        nargs: 1,
        requiresArg: true,
      })
      .option('timeout', {
        describe: 'Seconds to wait for each answer',
        type: 'string',
        default: DEFAULT_TIMEOUT_SECONDS,
        nargs: 1,
        requiresArg: true,
      })
      .option('strict', { describe: 'Exit status 1 for warnings too', type: 'boolean' })
      .option('json', {
        describe: 'Print JSON: [{"step": …, "result": …, "message": …, "remedy": …}, …]',
        type: 'boolean',
      })
      .conflicts('mount', ['target', 'options', 'idmap-uid', 'idmap-gid', 'groups'])
      .example('$0 check', 'May this user mount here?')
      .example('$0 check -o port=2049,mountport=20048 server:/export', 'And will the server let us?')
      .example('$0 check --mount /mnt', 'Health check of a container')
      .epilogue(
        'Exit status: 0 if nothing has failed (warnings do not count without --strict), 1 otherwise.',
      ),
  run: check,
};

async function check(args: CheckArguments, output: Output): Promise<number> {
  const timeoutMs = parseTimeout(args.timeout);
  const json = args.json === true;
  if (args.mount !== undefined) return checkMount(args.mount, timeoutMs, json, output);
  const options = [...(args.options ?? []), ...identityOptionTexts(args)];
  const request = parseMountRequest(args.target ?? NO_TARGET, options);
  const environment = environmentSteps({
    allowOther: request.fuse.allowOther,
    unseenGroups: request.client.identity.unseenGroups,
    timeoutMs,
  });
  const chapters: Chapter[] = [{ heading: 'This machine', steps: [...programSteps(), ...environment] }];
  const visit = new ServerVisit(request, timeoutMs);
  if (args.target !== undefined) chapters.push({ heading: request.source, steps: serverSteps(visit) });
  const names = chapters.flatMap(({ steps }) => steps.map(({ name }) => name.length));
  const report = new Report({ json, nameWidth: Math.max(...names), print: output.print });
  for (const { heading, steps } of chapters) {
    report.heading(heading);
    for await (const finding of examineAll(steps, CALLS_PER_STEP * timeoutMs)) report.add(finding);
  }
  report.end();
  await visit.leave();
  return report.exitStatus(args.strict === true);
}

/** Prints one line, because health checks show one. */
async function checkMount(path: string, timeoutMs: number, json: boolean, output: Output): Promise<number> {
  const findings: Finding[] = [];
  for await (const finding of examineAll(mountSteps(path, timeoutMs), CALLS_PER_STEP * timeoutMs))
    findings.push(finding);
  const failed = findings.find(({ result }) => result === 'failure');
  const line = failed === undefined ? findings.map(({ message }) => message).join(' ') : sentences(failed);
  output.print(json ? jsonOf(findings) : `${oneLine(line)}\n`);
  return failed === undefined ? 0 : 1;
}

function sentences({ message, remedy }: Finding): string {
  return remedy === undefined ? message : `${message} ${remedy}`;
}

function parseTimeout(text: string): number {
  const seconds = /^\d{1,4}(\.\d{1,3})?$/.test(text) ? Number(text) : 0;
  if (seconds > 0) return seconds * 1000;
  throw new UserError(`--timeout=${text} is not a number of seconds.`, { remedy: 'Write --timeout=5.' });
}
