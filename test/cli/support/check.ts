/** Runs `nfs-fuse check` like a user, and reads its findings. */
import type { Test } from 'tap';
import type { Finding } from '../../../lib/check/step.js';
import { run } from '../../support/process.js';
import { type Said, said } from './product.js';

export interface Checked {
  readonly status: number | null;
  readonly findings: readonly Finding[];
  /** The finding of a step. Fails if there is none. */
  of(step: string): Finding;
}

/** The default of 5 s may be too short on a machine that runs other tests. */
const TIMEOUT = ['--timeout', '30'];

/** Runs a command that ends with `check --json` and more arguments, and reads its JSON. */
export async function checkWith(argv: readonly string[], env?: NodeJS.ProcessEnv): Promise<Checked> {
  const patient = argv.includes('--timeout') ? [] : TIMEOUT;
  const outcome = said(
    await run([...argv, ...patient, '--json'], { cwd: '/', ...(env === undefined ? {} : { env }) }),
  );
  return readFindings(outcome);
}

function readFindings(outcome: Said): Checked {
  if (outcome.stderr !== '') throw new Error(outcome.stderr);
  return checkedOf(JSON.parse(outcome.stdout) as Finding[], outcome.status);
}

export function checkedOf(findings: readonly Finding[], status: number | null): Checked {
  return {
    status,
    findings,
    of(step) {
      const finding = findings.find((one) => one.step === step);
      if (finding === undefined) throw new Error(`no step "${step}" in ${JSON.stringify(findings)}`);
      return finding;
    },
  };
}

/** Expects that the step has failed with this message and remedy, and that the whole check has failed. */
export function failsAt(t: Test, checked: Checked, step: string, message: RegExp, remedy: RegExp): void {
  const finding = checked.of(step);
  t.equal(finding.result, 'failure', `${step} fails`);
  t.match(finding.message, message);
  t.match(finding.remedy, remedy);
  t.equal(checked.status, 1, 'exit status');
}

/** Expects that the step warns, and that the whole check has not failed because of it. */
export function warnsAt(t: Test, checked: Checked, step: string, message: RegExp, remedy: RegExp): void {
  const finding = checked.of(step);
  t.equal(finding.result, 'warning', `${step} warns`);
  t.match(finding.message, message);
  t.match(finding.remedy, remedy);
}

/** Expects that no step fails or warns. */
export function allWell(t: Test, checked: Checked): void {
  t.same(
    checked.findings.filter(({ result }) => result !== 'ok'),
    [],
  );
  t.equal(checked.status, 0, 'exit status');
}
