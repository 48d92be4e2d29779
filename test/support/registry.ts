/**
 * The list of what this test process has made and must take away: processes, folders with the mounts in them,
 * changed modes, users. Kept in a file, so that nothing outlives the process even if it is killed: what is on
 * the list when the process exits is removed by test/setup/sweep.mjs, and by the test run otherwise.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { projectRoot } from './project.js';

type Entry =
  | { kind: 'process'; pid: number; start: string; what: string }
  | { kind: 'folder'; path: string }
  | { kind: 'mode'; path: string; mode: number }
  | { kind: 'user'; name: string };

const entries = new Set<Entry>();
const folder = join(tmpdir(), 'nfs-fuse-test-registry');
const file = join(folder, `${process.pid}-${startTime(process.pid)}`);
let watching = false;

/** When a process was started (field 22 of /proc/PID/stat), which tells it from a later one of the same id. */
function startTime(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

function write(): void {
  if (entries.size === 0) {
    rmSync(file, { force: true });
    return;
  }
  mkdirSync(folder, { recursive: true });
  // In one step, because other test processes read it.
  const next = join(folder, `.${process.pid}`);
  writeFileSync(next, JSON.stringify([...entries]));
  renameSync(next, file);
}

function sweepNow(): void {
  if (entries.size === 0) return;
  write();
  spawnSync(process.execPath, [join(projectRoot, 'test/setup/sweep.mjs'), file], { stdio: 'inherit' });
}

function add(entry: Entry): () => void {
  if (!watching) {
    watching = true;
    process.on('exit', sweepNow);
    // Not once: ^C reaches a measurement twice, and the second must not end it while it tidies up.
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));
  }
  entries.add(entry);
  write();
  return () => {
    if (entries.delete(entry)) write();
  };
}

/** Puts a process on the list, with its process group if it leads one; the result takes it off. */
export function registerProcess(pid: number, what: string): () => void {
  return add({ kind: 'process', pid, start: startTime(pid), what });
}

/** Puts a folder on the list; what is mounted in it is unmounted before it is removed. */
export function registerFolder(path: string): () => void {
  return add({ kind: 'folder', path });
}

/** The lists of all living test processes, of this run or another. */
function allEntries(): Entry[] {
  mkdirSync(folder, { recursive: true });
  const others = readdirSync(folder).flatMap((name): Entry[] => {
    const path = join(folder, name);
    const [pid = '', start] = name.split('-');
    try {
      if (path === file || startTime(Number(pid)) !== start) return [];
      return JSON.parse(readFileSync(path, 'utf8')) as Entry[];
    } catch {
      // Its process has just ended, or is just writing it.
      return [];
    }
  });
  return [...entries, ...others];
}

/** Changes a mode until the result is called or the process ends; the last process that did so restores it. */
export function changeMode(path: string, mode: number): () => void {
  const changed = () => allEntries().find((entry) => entry.kind === 'mode' && entry.path === path);
  const other = changed();
  const before = other?.kind === 'mode' ? other.mode : statSync(path).mode & 0o7777;
  const forget = add({ kind: 'mode', path, mode: before });
  chmodSync(path, mode);
  return () => {
    forget();
    if (changed() === undefined) chmodSync(path, before);
  };
}

/** Makes sure that there is a system user of this name. The last process that asked for the user removes it. */
export function needUser(name: string): void {
  const exists = spawnSync('getent', ['passwd', name]).status === 0;
  const made = allEntries().some((entry) => entry.kind === 'user' && entry.name === name);
  if (!exists || made) add({ kind: 'user', name });
  if (exists) return;
  const options = ['--system', '--no-create-home', '--shell', '/usr/sbin/nologin', '--user-group'];
  const { status, stderr } = spawnSync('useradd', [...options, name]);
  if (status !== 0) throw new Error(`useradd ${name}: ${String(stderr).trim()}`);
}
