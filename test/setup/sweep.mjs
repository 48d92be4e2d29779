/**
 * Removes what a test left behind: processes, mounts, folders, changed modes, users. Every test process keeps
 * a list of what it has made (test/support/registry.ts); a process that dies without tidying up leaves its list.
 *
 * usage: node sweep.mjs LIST     clears one list, prints what it removed
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where the lists are; each is named after its process, `PID-STARTTIME`. */
export const registryFolder = join(tmpdir(), 'nfs-fuse-test-registry');

/** When process `pid` was started, as /proc says it, or undefined if there is none: tells a reused pid. */
export function startTime(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

function sleep(ms) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function endProcess({ pid, start }) {
  if (startTime(pid) !== start) return false;
  for (const target of [-pid, pid]) {
    try {
      process.kill(target, 'SIGKILL');
    } catch {
      // Not the leader of a group, or already gone.
    }
  }
  for (let waited = 0; startTime(pid) === start && waited < 5000; waited += 20) sleep(20);
  return true;
}

/** Mount points at or under `folder`, deepest first. */
function mountsUnder(folder) {
  const decode = (text) =>
    text.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8)));
  return readFileSync('/proc/self/mountinfo', 'latin1')
    .split('\n')
    .map((line) => decode(line.split(' ')[4] ?? ''))
    .filter((path) => path === folder || path.startsWith(`${folder}/`))
    .reverse();
}

function isLiving(name) {
  const [pid, start] = name.split('-');
  return start !== undefined && startTime(pid) === start;
}

/** Names of all lists, but for hidden ones, which are about to become lists. */
function lists() {
  if (!existsSync(registryFolder)) return [];
  return readdirSync(registryFolder).filter((name) => !name.startsWith('.'));
}

/** Whether another test process that lives has the same on its list: then that process will remove it. */
function isNeededByOthers({ kind, path, name }) {
  return lists()
    .filter((list) => isLiving(list) && join(registryFolder, list) !== process.argv[2])
    .flatMap((list) => JSON.parse(readFileSync(join(registryFolder, list), 'utf8')))
    .some((other) => other.kind === kind && other.path === path && other.name === name);
}

function clear(entry) {
  switch (entry.kind) {
    case 'process':
      return endProcess(entry) ? [`process ${entry.pid} (${entry.what})`] : [];
    case 'folder': {
      const mounts = mountsUnder(entry.path);
      for (const path of mounts) spawnSync('umount', ['-l', path]);
      if (!existsSync(entry.path)) return [];
      spawnSync('rm', ['-rf', '--one-file-system', entry.path]);
      return [...mounts.map((path) => `mount ${path}`), `folder ${entry.path}`];
    }
    case 'mode':
      if (!isNeededByOthers(entry)) chmodSync(entry.path, entry.mode);
      return [];
    case 'user':
      if (!isNeededByOthers(entry)) spawnSync('userdel', [entry.name]);
      return [];
    default:
      throw new Error(`a list of leftovers names an unknown kind: ${entry.kind}`);
  }
}

/** Clears one list: processes first, because they hold the rest. */
export function clearList(file) {
  const entries = JSON.parse(readFileSync(file, 'utf8'));
  const order = ['process', 'folder', 'mode', 'user'];
  entries.sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
  const removed = entries.flatMap(clear);
  rmSync(file, { force: true });
  return removed;
}

/** Clears the lists of all test processes that have died, and returns what was left. */
export function sweep() {
  return lists()
    .filter((name) => !isLiving(name))
    .flatMap((name) => clearList(join(registryFolder, name)));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const what of clearList(process.argv[2])) console.log(what);
}
