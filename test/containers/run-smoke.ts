/** Brings the program smoke.ts into a container, and shows its checks as tests. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import ts from 'typescript';
import { type Outcome, ProgramFailed } from '../support/process.js';
import { projectRoot } from '../support/project.js';

/** Compiles the program into `folder`; answers its path. */
export function compileSmoke(folder: string): string {
  const text = readFileSync(join(projectRoot, 'test/containers/smoke.ts'), 'utf8');
  const { outputText } = ts.transpileModule(text, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  const path = join(folder, 'smoke.mjs');
  writeFileSync(path, outputText);
  return path;
}

/** Shows each check that the program has reported. */
export function showSmoke(t: Test, argv: readonly string[], outcome: Outcome): void {
  if (outcome.status !== 0) throw new ProgramFailed(argv, outcome, 'the smoke test did not end well');
  const lines = outcome.stdout
    .toString()
    .split('\n')
    .filter((line) => line.startsWith('{'));
  t.ok(lines.length > 10, `${lines.length} checks were made`);
  for (const line of lines) {
    const { name, error } = JSON.parse(line) as { name: string; error?: string };
    t.equal(error, undefined, name);
  }
}
