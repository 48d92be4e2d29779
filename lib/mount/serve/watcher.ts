/**
 * The watcher: a tiny shell process that waits for the serving process to end, and if that died without saying
 * good-bye takes the dead mount away and says so. It knows of the death because it reads from a pipe that nobody
 * else writes to. It is also who looks at the mount first: a process that asks its own mount, and is killed before it
 * has answered itself, waits for ever in the kernel. It leads a session of its own, so that a signal to the terminal or
 * to the process group misses it.
 *
 * The shell is POSIX sh as dash and busybox have it. A watcher in Node would cost 40 MB for nothing.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { errorCode, printable } from '../../base/log.js';
import { mountAt, readMountinfo } from '../../fuse/index.js';
import type { LogFile } from '../process/log-file.js';
import type { MountJournal } from '../reach/journal.js';
import type { ServedMount } from './kernel-transport.js';

/**
 * The mount is known by its id, its device number and its type; if the death came right after mounting, by its place.
 * The kernel gives numbers that have become free to the next mount, so one that answers statfs(2) is left alone:
 * stat(1) asks, for a moment at most. mountinfo writes blanks and backslashes as \NNN, which %b resolves; the dot
 * keeps newlines at the end.
 */
const SCRIPT = `
for signal in $NFS_FUSE_SIGNALS; do command trap '' "$signal"; done 2>/dev/null
cd /
place=$1
mounted=
while read -r word rest; do
  case $word in
    mounted)
      mounted=$rest
      if [ -d "$place" ]; then echo yes >&3; else echo no >&3; fi 2>/dev/null
      exec 3>&-
      ;;
    log) if [ -w "/proc/$PPID/fd/$rest" ]; then exec >>"/proc/$PPID/fd/$rest"; fi ;;
    bye) exit 0 ;;
  esac
done
decode() {
  path=$(printf '%b.' "$1")
  path=\${path%.}
}
find_mount() {
  point=
  while read -r id parent device root where more; do
    case $more in *' - fuse.nfs-fuse '*) ;; *) continue ;; esac
    if [ -n "$mounted" ]; then
      [ "$mounted" != "$id $device" ] || point=$where
    else
      decode "$where"
      [ "$path" != "$place" ] || point=$where
    fi
  done < /proc/self/mountinfo
  [ -n "$point" ]
}
[ -n "$mounted" ] || find_mount || exit 0
what='and its mount was gone already'
if find_mount; then
  decode "$point"
  if ! timeout -s KILL 5 stat -f "$path"; then
    umount -l "$path" || fusermount3 -u -z "$path" || fusermount -u -z "$path" ||
      "$NFS_FUSE_NODE" "$NFS_FUSE_MAIN" umount --lazy "$path"
    what="and $NFS_FUSE_WHERE was unmounted"
    if find_mount; then what="and $NFS_FUSE_WHERE is dead: nfs-fuse umount takes it away"; fi
  fi
fi </dev/null >/dev/null 2>&1
line="The process $NFS_FUSE_PID that served $NFS_FUSE_WHERE died, $what. What was not written back is lost."
dated="$(date -u +%Y-%m-%dT%H:%M:%SZ 2>/dev/null) error $line"
umask 077
[ -z "$NFS_FUSE_JOURNAL" ] || printf '%s\\n' "$dated" >> "/proc/self/fd/4/$NFS_FUSE_JOURNAL"
printf '%s\\n' "$dated"
printf 'nfs-fuse: %s\\n' "$line" >&2
`;

/** All that end a process without being the death of it; the names are the kernel's, of which shells know only some. */
const UNWANTED_SIGNALS: readonly number[] = [
  ...(
    [
      ...['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGPIPE', 'SIGTSTP', 'SIGALRM', 'SIGUSR1', 'SIGUSR2'],
      ...['SIGVTALRM', 'SIGPROF', 'SIGIO', 'SIGXCPU', 'SIGXFSZ', 'SIGPWR', 'SIGSTKFLT'],
    ] as NodeJS.Signals[]
  ).map((name) => constants.signals[name]),
  // Real-time signals; below are the C library's own.
  ...Array.from({ length: 30 }, (_, index) => 35 + index),
];
/** How long an end in good order waits for the watcher to go. */
const FAREWELL_MS = 2_000;

export interface WatcherOptions {
  /** For the message. */
  readonly where: string;
  /** Gets the message, too, if there is one; its folder belongs to this user alone. */
  readonly journal: MountJournal['place'] | undefined;
  /** Gets the message with its time. */
  readonly logFile: LogFile | undefined;
  /** Whether standard error gets it. */
  readonly toStandardError: boolean;
}

export class Watcher {
  readonly #child: ChildProcess;
  readonly #pipe: Writable | null;
  readonly #answer: Promise<string>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#pipe = child.stdin;
    this.#pipe?.on('error', () => {});
    this.#answer = firstWord(child.stdio[3] as Readable);
    // It must not keep this process from ending.
    child.unref();
    if (this.#pipe !== null && 'unref' in this.#pipe && typeof this.#pipe.unref === 'function')
      this.#pipe.unref();
  }

  /**
   * Before /dev/fuse is opened: a copy of that descriptor in the watcher would keep the connection alive. Undefined:
   * there is no shell, and nobody watches; `warn` is told why.
   */
  static start(options: WatcherOptions, warn: (line: string) => void): Promise<Watcher | undefined> {
    const { where, journal, logFile, toStandardError } = options;
    const child = spawn('sh', ['-c', 'eval "$NFS_FUSE_WATCH"', 'nfs-fuse-watcher', where], {
      detached: true,
      cwd: '/',
      stdio: [
        'pipe',
        logFile?.descriptor ?? 'ignore',
        toStandardError ? 2 : 'ignore',
        'pipe',
        journal?.folder ?? 'ignore',
      ],
      env: {
        PATH: `${process.env.PATH ?? ''}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
        LC_ALL: 'C',
        NFS_FUSE_WATCH: SCRIPT,
        NFS_FUSE_WHERE: printable(where).replace(/\n/g, '\\n'),
        NFS_FUSE_PID: String(process.pid),
        // Below descriptor 4: by the time of the death, its path may lead elsewhere.
        NFS_FUSE_JOURNAL: journal?.name ?? '',
        NFS_FUSE_SIGNALS: UNWANTED_SIGNALS.join(' '),
        NFS_FUSE_NODE: process.execPath,
        NFS_FUSE_MAIN: process.argv[1] ?? '',
      },
    });
    return new Promise((resolve) => {
      child.once('error', (error) => {
        const code = errorCode(error);
        const why =
          code === 'ENOENT' || code === 'EACCES' ? 'There is no sh' : `No watcher can be started (${code})`;
        warn(`${why}: if this process is killed, its mount stays, dead, until it is unmounted.`);
        resolve(undefined);
      });
      child.once('spawn', () => {
        const watcher = new Watcher(child);
        logFile?.onReopen(() => watcher.#pipe?.write(`log ${logFile.descriptor}\n`));
        resolve(watcher);
      });
    });
  }

  /**
   * From now on there is a mount to take away. Resolves when the watcher has looked at it: whether it is a directory that
   * answers. False as well when the mount was gone already, or the watcher is.
   */
  async mounted(mount: Pick<ServedMount['mount'], 'mountpoint' | 'major' | 'minor'>): Promise<boolean> {
    const { major, minor } = mount;
    const entry = mountAt(await readMountinfo(), mount.mountpoint);
    if (entry?.major !== major || entry.minor !== minor) return false;
    this.#pipe?.write(`mounted ${entry.id} ${major}:${minor}\n`);
    return (await this.#answer) === 'yes';
  }

  /** The end is in good order, there is nothing to watch any more. Resolves when the watcher has gone. */
  async dismiss(): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, FAREWELL_MS);
      child.ref();
      child.once('exit', () => {
        clearTimeout(timer);
        resolve();
      });
      this.#pipe?.end('bye\n');
    });
  }
}

function firstWord(stream: Readable): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    stream.on('error', () => {});
    stream.on('close', () => resolve(text.trim()));
  });
}
