/** Runs waiter-main.ts in the network of a server, and expects that the grants of its locks are heard. */
import { join } from 'node:path';
import type { Test } from 'tap';
import { mustRun } from '../../support/process.js';
import { projectRoot } from '../../support/project.js';
import type { Report, Setting } from './waiter-main.js';

const MAIN = join(projectRoot, 'test/lock-listener/support/waiter-main.ts');

/** `enter`: the prefix of a command that is to run beside the server, or as another user. */
export async function waits(enter: readonly string[], setting: Setting): Promise<Report> {
  const env = { ...process.env };
  delete env.NODE_OPTIONS;
  const argv = [...enter, process.execPath, '--import=tsx', MAIN, JSON.stringify(setting)];
  return JSON.parse(await mustRun(argv, { cwd: projectRoot, env })) as Report;
}

/** The waiter's lock is granted and told of; a lock that nobody waits for any more is refused, and then unlocked. */
export function expectHeard(t: Test, report: Report): void {
  const grant = { exclusive: true, offset: '100', length: '50' };
  t.same(report, {
    statuses: [
      ...['GRANTED', 'BLOCKED', 'GRANTED', 'DENIED', 'GRANTED'],
      ...['GRANTED', 'BLOCKED', 'GRANTED', 'GRANTED'],
      ...['GRANTED', 'GRANTED'],
    ],
    grants: [
      { ...grant, svid: 2, ownerHandle: '2@tester' },
      { ...grant, svid: 3, ownerHandle: '3@tester' },
    ],
    answers: ['GRANTED_RES GRANTED', 'GRANTED_RES DENIED'],
  });
}
