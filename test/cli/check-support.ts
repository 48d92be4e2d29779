/** `nfs-fuse check`, run as a user runs it, and its findings. */
import type { Test } from 'tap';
import type { Finding } from '../../lib/check/step.js';
import { run } from '../support/process.js';
import { type Said, said } from './product.js';

export interface Checked {
  readonly status: number | null;
  readonly findings: readonly Finding[];
  /** The finding of a step; fails where there is none. */
  of(step: string): Finding;
}

/** On a machine that is busy with other tests, 5 s would be short. */
const TIMEOUT = ['--timeout', '30'];

/** Runs a command that ends with `check --json` and the like, and reads what it prints. */
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

/** The step has failed, with this message and this remedy, and so the whole. */
export function failsAt(t: Test, checked: Checked, step: string, message: RegExp, remedy: RegExp): void {
  const finding = checked.of(step);
  t.equal(finding.result, 'failure', `${step} fails`);
  t.match(finding.message, message);
  t.match(finding.remedy, remedy);
  t.equal(checked.status, 1, 'exit status');
}

/** The step warns, which does not make the whole fail. */
export function warnsAt(t: Test, checked: Checked, step: string, message: RegExp, remedy: RegExp): void {
  const finding = checked.of(step);
  t.equal(finding.result, 'warning', `${step} warns`);
  t.match(finding.message, message);
  t.match(finding.remedy, remedy);
}

/** Nothing fails, and nothing warns. */
export function allWell(t: Test, checked: Checked): void {
  t.same(
    checked.findings.filter(({ result }) => result !== 'ok'),
    [],
  );
  t.equal(checked.status, 0, 'exit status');
}
