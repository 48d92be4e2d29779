/**
 * The script of the shell process that stands beside a mount. Owns what that process does, word by word; shell-process.ts
 * starts it. POSIX sh as dash and busybox have it: a process of Node would take 40 MB of memory.
 *
 * It reads from a pipe to which only the serving process can write. The end of the pipe without "bye" is the death of that
 * process. A thread of the dead process can keep the pipe open: one that waits in the kernel for a page or a directory,
 * which a request holds that only the next process will answer. So another shell, the waker, looks every few seconds for
 * such a process, and sends SIGCONT, which ends the wait for the pipe. This one leads a session of its own, so that signals to the terminal or to the process group do not reach it.
 *
 * As a watcher (before there is a mount, and where none is kept) it takes the dead mount away and reports it. As a keeper
 * it holds the connection with the kernel and the state of the mount, and starts a process that goes on with both. That
 * one's pipe leads to a new shell of the same kind, and this one ends: shells do not pile up.
 *
 * Descriptors: 0 the pipe, 1 the log file, 2 messages for people, 4 the folder of the journal, 5 the folder of the notes
 * of locks. Of a watcher: 3 the answer to "mounted". Of a keeper: 3 /dev/fuse, 6 the state, 9 what the process inherits
 * besides; 7 and 8 are used while the next process is started.
 *
 * The words of the serving process:
 * - `mounted ID MAJOR:MINOR`: there is a mount to look at, and to take away.
 * - `log N`: the log file is now descriptor N of the serving process.
 * - `pid N`: the number of the process that takes over, or to which the mount is handed over. That one has the pipe as well.
 * - `alive`: it is well, and only waits for the server.
 * - `why TEXT`: why it will not take over; `hopeless TEXT`: and no other process will either.
 * - `release`: the mount ends, so it is not kept any more.
 * - `bye`: the end in good order.
 */

const WAKER_SECONDS = 3;
/** The arguments are the numbers of the process and of the shell that waits for its end. */
export const WAKER = `
while sleep ${WAKER_SECONDS} && [ -d "/proc/$2" ]; do
  state=
  while read -r name value rest; do
    if [ "$name" = State: ]; then state=$value; break; fi
  done < "/proc/$1/status"
  case $state in ''|Z|X) kill -s CONT "$2" ;; esac
done
`;

/** The number of processes in a row that may end before they serve the mount. Before each the keeper waits a second longer, up to a bound. */
const MAX_IN_VAIN = 5;
/** The same for processes that end without a word: they were killed, and memory may be there again a little later. */
const MAX_KILLED = 10;
const MAX_PAUSE_SECONDS = 5;
/** A mount whose process dies more often than this within a minute is given up. */
const MAX_DEATHS = 60;

/**
 * The script knows the mount by its id, its device number and its type. If the death came right after mounting, it knows
 * only the place. The kernel gives free numbers to the next mount, so a mount that answers statfs(2) is left alone;
 * stat(1) asks it and gets five seconds. mountinfo writes blanks and backslashes as \NNN, which %b resolves. The dot
 * keeps newlines at the end.
 *
 * The kernel kills no process with the score -1000 for want of memory. Only a privileged process may have it. The others
 * have at least the lower score that the serving process had before it raised its own; the next process begins with the
 * raised one.
 */
export const SCRIPT = `
for signal in $NFS_FUSE_SIGNALS; do command trap '' "$signal"; done 2>/dev/null
cd /
place=$1
mounted=$NFS_FUSE_MOUNTED
keeps=$NFS_FUSE_KEEPS
vain=\${NFS_FUSE_VAIN:-0}
hopeless=
why=
if [ -n "$keeps" ]; then
  if [ -z "$NFS_FUSE_SCORE" ]; then read -r NFS_FUSE_SCORE < /proc/self/oom_score_adj; fi
  if [ -n "$NFS_FUSE_LOWER" ]; then echo "$NFS_FUSE_LOWER" > /proc/self/oom_score_adj; fi
  echo -1000 > /proc/self/oom_score_adj
fi 2>/dev/null
waker=
woken=
serving=
trap 'woken=1' CONT
end_waker() { if [ -n "$waker" ]; then kill -s KILL "$waker"; fi 2>/dev/null; }
trap end_waker EXIT
watch_over() {
  end_waker
  serving=$1
  sh -c "$NFS_FUSE_WAKER" nfs-fuse-waker "$1" "$$" </dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
  waker=$!
}
is_alive() {
  state=Z
  if [ -d "/proc/$serving" ]; then
    while read -r name state more; do if [ "$name" = State: ]; then break; fi; done < "/proc/$serving/status"
  fi 2>/dev/null
  [ "$state" != Z ] && [ "$state" != X ]
}
listen() { while read -r word rest; do
  case $word in
    pid) watch_over "$rest" ;;
    mounted)
      mounted=$rest
      if [ -d "$place" ]; then echo yes >&3; else echo no >&3; fi 2>/dev/null
      exec 3>&-
      ;;
    log) if [ -w "/proc/$PPID/fd/$rest" ]; then exec >>"/proc/$PPID/fd/$rest"; fi ;;
    alive) vain=0 ;;
    why) why=$rest ;;
    hopeless) hopeless=1 why=$rest ;;
    release) keeps= ; exec 3>&- 6>&- ;;
    bye) exit 0 ;;
  esac
done; }
if [ -n "$NFS_FUSE_SERVES" ]; then watch_over "$NFS_FUSE_SERVES"; fi
listen
while [ -n "$woken" ] && { [ -z "$serving" ] || is_alive; }; do
  woken=
  listen
done
start_next() {
  NFS_FUSE_VAIN=$((vain + 1))
  NFS_FUSE_SERVES=
  NFS_FUSE_TAKE_OVER="fuse=3 state=6 keeper=7 died=$NFS_FUSE_PID at=$NFS_FUSE_DIED_AT deaths=$NFS_FUSE_DEATHS $NFS_FUSE_TOLD"
  export NFS_FUSE_VAIN NFS_FUSE_DIED_AT NFS_FUSE_DEATHS NFS_FUSE_SCORE NFS_FUSE_SERVES
  exec 8>&1
  (
    { echo "$NFS_FUSE_SCORE" > /proc/self/oom_score_adj; } 2>/dev/null
    eval "set -- $NFS_FUSE_START"
    unset NFS_FUSE_WATCH NFS_FUSE_WAKER NFS_FUSE_SIGNALS NFS_FUSE_START
    export NFS_FUSE_TAKE_OVER
    if [ -z "$NFS_FUSE_LOUD" ]; then exec 2>&8; fi
    exec "$@" </dev/null 7>&1 >&8 8>&- 4>&- 5>&-
  ) | sh -c 'eval "$NFS_FUSE_WATCH"' nfs-fuse-keeper "$place" 8>&- &
}
if [ -n "$keeps" ]; then
  read -r now rest < /proc/uptime
  if [ "$vain" = 0 ]; then NFS_FUSE_DIED_AT=$now; fi
  now=\${now%.*}
  deaths=0
  recent=
  IFS=,
  for death in $NFS_FUSE_DEATHS; do
    if [ $((now - death)) -lt 60 ]; then deaths=$((deaths + 1)) recent=$recent$death,; fi
  done
  unset IFS
  NFS_FUSE_DEATHS=$recent$now
  if [ -n "$hopeless" ]; then :
  elif [ "$deaths" -ge ${MAX_DEATHS} ]; then why='its processes have died more than ${MAX_DEATHS} times within a minute'
  elif [ "$vain" -ge ${MAX_KILLED} ] || { [ "$vain" -ge ${MAX_IN_VAIN} ] && [ -n "$why" ]; }; then
    why="the process that was to take it over has ended $vain times before it served\${why:+: $why}"
  else
    if [ "$vain" -ge ${MAX_PAUSE_SECONDS} ]; then sleep ${MAX_PAUSE_SECONDS}
    elif [ "$vain" -gt 0 ]; then sleep "$vain"
    fi
    start_next
    exit 0
  fi
fi
exec 3>&- 6>&-
export LC_ALL=C
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
answers() {
  decode "$point"
  timeout -s KILL 5 stat -f "$path"
}
if [ -n "$NFS_FUSE_LOCKS" ] && [ -s "/proc/self/fd/5/$NFS_FUSE_LOCKS" ] && [ -n "$NFS_FUSE_SELF" ]; then
  eval "$NFS_FUSE_SELF"' locks --release-left "$place"' </dev/null >/dev/null 2>&1 &
fi
what='and its mount was gone already'
if [ -n "$NFS_FUSE_INHERITED" ]; then
  what='and its connection is closed'
else
  [ -n "$mounted" ] || find_mount || exit 0
  if find_mount; then
    if ! answers; then
      umount -f -l "$path" || umount -l "$path" || fusermount3 -u -z "$path" || fusermount -u -z "$path" ||
        { [ -n "$NFS_FUSE_SELF" ] && eval "$NFS_FUSE_SELF"' umount --lazy "$path"'; }
      what="and $NFS_FUSE_WHERE was unmounted"
      if find_mount; then what="and $NFS_FUSE_WHERE is dead: nfs-fuse umount takes it away"; fi
    fi
  fi </dev/null >/dev/null 2>&1
fi
line="The process $NFS_FUSE_PID that served $NFS_FUSE_WHERE died, $what. Data that was not written back is lost."
if [ -n "$why" ]; then line="$line Nothing has taken it over: $why."; fi
now=$(date -u +%Y-%m-%dT%H:%M:%SZ 2>/dev/null)
dated="$now error $line"
umask 077
[ -z "$NFS_FUSE_JOURNAL" ] || printf '%s\\n' "$dated" >> "/proc/self/fd/4/$NFS_FUSE_JOURNAL"
said="nfs-fuse: $line"
case $NFS_FUSE_LOG_FORMAT in
  json)
    escaped=$(printf '%s' "$line" | sed 's/[\\\\"]/\\\\&/g')
    dated="{\\"time\\":\\"$now\\",\\"level\\":\\"error\\",\\"message\\":\\"$escaped\\"}"
    said=$dated
    ;;
  journal)
    dated="<3>$line"
    said=$dated
    ;;
  text) said=$dated ;;
esac
printf '%s\\n' "$dated"
printf '%s\\n' "$said" >&2
`;
