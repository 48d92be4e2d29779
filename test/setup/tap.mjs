/** Runs test files, several at a time, and gives a file that failed beside others a second try alone. */
import { spawn } from 'node:child_process';
import { root, say } from './common.mjs';
import { readReport } from './tap-report.mjs';
import { compiled } from './transpile.mjs';

/** The time in which a test file that was told to end has to tidy up. */
const TIDY_UP_MS = 30_000;
const MAX_ERROR_OUTPUT = 8_000;
/**
 * A file's mounts are its own: many tests make mount namespaces, and these would have copies of the mounts of other files, which
 * could not end then. unshare(1) becomes the test, with the same process id.
 */
const ALONE = ['--mount', '--propagation', 'private'];

/**
 * Runs one file as tap's own runner does, less the state that it keeps in the project's folder for all runs together.
 * Of a source in TypeScript, whose path begins at the project's folder, the copy in JavaScript runs: transpile() comes first.
 * The result: pass, fail, other, failed and failures as readReport has them, file, and milliseconds. A file that ends
 * otherwise than with status 0, or without a single assertion, has failed.
 */
export async function runFile(file, timeoutSeconds, environment = {}) {
  const program = file.endsWith('.ts') ? compiled(file) : file;
  const argv = [...ALONE, process.execPath, '--enable-source-maps', program];
  const child = spawn('unshare', argv, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment, TAP: '1', TAP_TIMEOUT: String(timeoutSeconds) },
  });
  const began = performance.now();
  const outputs = [child.stdout, child.stderr].map((stream) => {
    const chunks = [];
    stream.on('data', (chunk) => chunks.push(chunk));
    return () => Buffer.concat(chunks).toString();
  });
  let late = '';
  const timers = [
    setTimeout(() => {
      late = `did not end within ${timeoutSeconds} s\n`;
      child.kill('SIGTERM');
    }, timeoutSeconds * 1000),
    setTimeout(() => child.kill('SIGKILL'), timeoutSeconds * 1000 + TIDY_UP_MS),
  ];
  // A process that it has left running may keep its pipes open: they are read a moment longer, not for ever.
  const ending = await new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (status, signal) => resolve(signal ?? status));
    child.on('exit', (status, signal) => timers.push(setTimeout(() => resolve(signal ?? status), 5_000)));
  });
  for (const timer of timers) clearTimeout(timer);
  const [said, complained] = outputs.map((output) => output());
  const report = readReport(said);
  if (report.fail === 0 && (ending !== 0 || report.pass === 0)) {
    report.fail = 1;
    report.failures = `${late}ended with ${ending} after ${report.pass} assertions\n${complained.slice(-MAX_ERROR_OUTPUT)}`;
  }
  return { ...report, file, milliseconds: performance.now() - began };
}

/**
 * Runs `files`, `jobs` at a time, the first ones first. A file that fails beside others runs once more, alone, since the
 * tests are not about a machine that is short of everything. If it passes then, it is named as unsteady; a file that fails
 * twice has failed.
 */
export async function runSteadily(files, jobs, timeoutSeconds) {
  say(`${files.length} test files, ${jobs} at a time`);
  const waiting = [...files];
  const results = [];
  const work = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const result = await runFile(file, timeoutSeconds);
      results.push(result);
      const outcome = result.fail > 0 ? 'FAILED' : 'ok';
      say(
        `${outcome} ${file}, ${Math.round(result.milliseconds / 1000)} s (${results.length}/${files.length})`,
      );
      // At once: a run that is cut short later has said why.
      if (result.fail > 0) console.error(result.failures);
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  const steady = [];
  for (const result of results) {
    if (result.fail === 0) {
      steady.push(result);
      continue;
    }
    console.error(`${result.file} failed beside others, and runs again alone`);
    const again = await runFile(result.file, timeoutSeconds);
    steady.push({ ...again, unsteady: again.fail === 0 });
  }
  return steady;
}
