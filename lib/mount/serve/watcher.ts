/**
 * The watcher: a small shell process that waits until the serving process has ended. If that died without saying
 * good-bye, the watcher takes the dead mount away and reports it. It notices the death because it reads from a pipe
 * to which only the serving process can write.
 *
 * The watcher is also the first to look at the mount. A process that asks its own mount, and is killed before it has
 * answered itself, waits in the kernel for ever. The watcher leads a session of its own, so that signals to the
 * terminal or to the process group do not reach it.
 *
 * The shell is POSIX sh as dash and busybox have it. A watcher in Node would take 40 MB of memory.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { errorCode, printable } from '../../base/log.js';
import { mountAt, readMountinfo } from '../../fuse/index.js';
import type { MountJournal } from '../reach/journal.js';
import type { ServedMount } from './kernel-transport.js';

/**
 * The script knows the mount by its id, its device number and its type. If the death came right after mounting, it knows
 * only the place. The kernel gives free numbers to the next mount, so a mount that answers statfs(2) is left alone;
 * stat(1) asks it and gets five seconds. mountinfo writes blanks and backslashes as \NNN, which %b resolves. The dot
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
if [ -n "$NFS_FUSE_LOCKS" ] && [ -s "/proc/self/fd/5/$NFS_FUSE_LOCKS" ] && [ -n "$NFS_FUSE_MAIN" ]; then
  "$NFS_FUSE_NODE" "$NFS_FUSE_MAIN" locks --release-left "$place" </dev/null >/dev/null 2>&1 &
fi
[ -n "$mounted" ] || find_mount || exit 0
what='and its mount was gone already'
if find_mount; then
  decode "$point"
  if ! timeout -s KILL 5 stat -f "$path"; then
    umount -l "$path" || fusermount3 -u -z "$path" || fusermount -u -z "$path" ||
      { [ -n "$NFS_FUSE_MAIN" ] && "$NFS_FUSE_NODE" "$NFS_FUSE_MAIN" umount --lazy "$path"; }
    what="and $NFS_FUSE_WHERE was unmounted"
    if find_mount; then what="and $NFS_FUSE_WHERE is dead: nfs-fuse umount takes it away"; fi
  fi
fi </dev/null >/dev/null 2>&1
line="The process $NFS_FUSE_PID that served $NFS_FUSE_WHERE died, $what. Data that was not written back is lost."
dated="$(date -u +%Y-%m-%dT%H:%M:%SZ 2>/dev/null) error $line"
umask 077
[ -z "$NFS_FUSE_JOURNAL" ] || printf '%s\\n' "$dated" >> "/proc/self/fd/4/$NFS_FUSE_JOURNAL"
printf '%s\\n' "$dated"
printf 'nfs-fuse: %s\\n' "$line" >&2
`;

/** Signals that end a process by default and do not mean a fault of it. As numbers: shells know only some names. */
const UNWANTED_SIGNALS: readonly number[] = [
  ...(
    [
      ...['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGPIPE', 'SIGTSTP', 'SIGALRM', 'SIGUSR1', 'SIGUSR2'],
      ...['SIGVTALRM', 'SIGPROF', 'SIGIO', 'SIGXCPU', 'SIGXFSZ', 'SIGPWR', 'SIGSTKFLT'],
    ] as NodeJS.Signals[]
  ).map((name) => constants.signals[name]),
  // Real-time signals. The C library keeps the lower ones for itself.
  ...Array.from({ length: 30 }, (_, index) => 35 + index),
];
/** An end in good order waits this long for the watcher to end. */
const FAREWELL_MS = 2_000;

/** A log file that the watcher writes to as well. */
export interface SharedLogFile {
  readonly descriptor: number;
  /** Calls `listener` whenever the descriptor has come to mean another file. */
  onReopen(listener: () => void): void;
}

/** Where the watcher reports a death, and what helps it to take the mount away. */
export interface WatcherOptions {
  /** Gets the message with its time. The folder belongs to this user alone. */
  readonly journal?: MountJournal['place'] | undefined;
  /** Gets the message with its time. */
  readonly logFile?: SharedLogFile | undefined;
  /** A descriptor of this process that gets the message for people, like standard error. */
  readonly errors?: number | undefined;
  /** The file in which the mount notes its locks. The folder belongs to this user alone. */
  readonly locks?: { readonly folder: number; readonly name: string } | undefined;
  /** The file of the program nfs-fuse, whose `umount` is used where the machine has no other program for it. */
  readonly program?: string | undefined;
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
    // The watcher must not keep this process from ending.
    child.unref();
    if (this.#pipe !== null && 'unref' in this.#pipe && typeof this.#pipe.unref === 'function')
      this.#pipe.unref();
  }

  /**
   * Starts a watcher of the mount on `where`. Call it before /dev/fuse is opened: a copy of that descriptor in the
   * watcher would keep the connection alive. Undefined: there is no shell, so nothing watches; `warn` gets the reason.
   */
  static start(
    where: string,
    options: WatcherOptions,
    warn: (line: string) => void,
  ): Promise<Watcher | undefined> {
    const { journal, locks, logFile, errors, program } = options;
    const child = spawn('sh', ['-c', 'eval "$NFS_FUSE_WATCH"', 'nfs-fuse-watcher', where], {
      detached: true,
      cwd: '/',
      stdio: [
        'pipe',
        logFile?.descriptor ?? 'ignore',
        errors ?? 'ignore',
        'pipe',
        journal?.folder ?? 'ignore',
        locks?.folder ?? 'ignore',
      ],
      env: {
        PATH: `${process.env.PATH ?? ''}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
        LC_ALL: 'C',
        // nfs-fuse locks looks there for the notes.
        XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? '',
        NFS_FUSE_WATCH: SCRIPT,
        NFS_FUSE_WHERE: printable(where).replace(/\n/g, '\\n'),
        NFS_FUSE_PID: String(process.pid),
        // Opened below descriptor 4, because its path may lead elsewhere by the time of the death.
        NFS_FUSE_JOURNAL: journal?.name ?? '',
        NFS_FUSE_LOCKS: locks?.name ?? '',
        NFS_FUSE_SIGNALS: UNWANTED_SIGNALS.join(' '),
        NFS_FUSE_NODE: process.execPath,
        NFS_FUSE_MAIN: program ?? '',
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
   * Tells the watcher that there is a mount to take away. Resolves when the watcher has looked at it: true if it is a
   * directory that answers. False as well if the mount or the watcher is gone already.
   */
  async mounted(mount: Pick<ServedMount['mount'], 'mountpoint' | 'major' | 'minor'>): Promise<boolean> {
    const { major, minor } = mount;
    const entry = mountAt(await readMountinfo(), mount.mountpoint);
    if (entry?.major !== major || entry.minor !== minor) return false;
    this.#pipe?.write(`mounted ${entry.id} ${major}:${minor}\n`);
    return (await this.#answer) === 'yes';
  }

  /** Tells the watcher that the mount ends in good order. Resolves when the watcher has ended. */
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
