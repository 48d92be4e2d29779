"""
The folder of one combination as its two clients see it, and the words in which outcomes tell of it: contents, sizes,
kinds, modes, link counts, names and the names of errors. Nothing in them differs from run to run.
"""
import contextlib
import ctypes
import errno
import itertools
import os
import re
import stat
import struct
import time

OTHER = 61234
"""Another user, to whom nothing belongs at first."""

NEIGHBOUR = "k"
"""A symbolic link in the folder, and a name that is missing in directories below it; no change and no act touches it."""

MODE_OF_B = 0o640
"""The mode that B sets in its acts. Nothing else sets it, so that it shows which object B has changed."""

libc = ctypes.CDLL(None, use_errno=True)


class Scene:
    """
    `a`, `b` and `look` are the paths of one folder: of the client that changes it, of the client that acts in it, and
    where its real state is looked up. `held` is what B keeps open from its preparation on.
    """

    def __init__(self, a, b, look, kind):
        self.a, self.b, self.look = a, b, look
        self.kind = kind
        self.held = {}
        self.inside = False
        """B acts by relative names, from the directory that it holds; for a directory: from the target itself."""
        self.also = []
        """Names beside the target that the change makes, takes away or gives another meaning."""

    def in_b(self, name):
        """A name of the folder, as B calls it."""
        return name if self.inside else f"{self.b}/{name}"

    @property
    def folder(self):
        return "." if self.inside else self.b

    @property
    def target(self):
        if self.inside and self.kind == "dir":
            return "."
        return self.in_b("t")

    @property
    def below(self):
        """The file in the target, which is a directory."""
        return "x" if self.inside else f"{self.b}/t/x"

    def close(self):
        for name, what in self.held.items():
            if name == "map":
                what.close()
            else:
                os.close(what)
        self.held = {}


def error(failure):
    return errno.errorcode.get(failure.errno, str(failure.errno))


def told(function, *args):
    """Returns the result of `function`, or the name of its error."""
    try:
        return function(*args)
    except OSError as failure:
        return error(failure)


def text(data):
    """Content as one word: as it is if short, else as runs of equal lines."""
    lines = re.sub("\0+", lambda zeros: f"%00*{len(zeros[0])}", data.decode("latin1")).split("\n")
    if len(data) <= 64:
        return "'" + "+".join(lines) + "'"
    runs = ((line, len(list(same))) for line, same in itertools.groupby(lines))
    return "'" + "+".join(f"{line}*{count}" for line, count in runs) + "'"


KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}


def described(st):
    """The attributes that stat shows. It leaves out sizes and link counts of directories: file systems differ in them."""
    kind = KINDS.get(stat.S_IFMT(st.st_mode), "?")
    words = [f"type={kind}", f"mode={stat.S_IMODE(st.st_mode):o}", f"uid={st.st_uid}"]
    if kind != "dir":
        words += [f"size={st.st_size}", f"nlink={st.st_nlink}"]
    return " ".join(words)


def read_all(fd):
    parts = []
    while True:
        part = os.read(fd, 1 << 17)
        if not part:
            return b"".join(parts)
        parts.append(part)


def read_file(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return read_all(fd)
    finally:
        os.close(fd)


def make_file(path, data, mode=0o644):
    """Writes a file and closes it: close-to-open promises that the next open shows the data."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def add_to(path, data):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def counts(name):
    """Whether a name counts. The neighbour does not, nor do the names that clients give to removed files in use."""
    return name != NEIGHBOUR and not name.startswith(".nfs")


def names(path):
    return ",".join(sorted(filter(counts, os.listdir(path)))) or "-"


def tree(path, depth=2):
    """The real state of a folder: every name, what it means, and which objects B has changed the mode of."""
    words = []
    for name in sorted(filter(counts, os.listdir(path))):
        entry = f"{path}/{name}"
        st = os.lstat(entry)
        if stat.S_ISLNK(st.st_mode):
            words.append(f"{name}->{os.readlink(entry)}")
            continue
        if stat.S_IMODE(st.st_mode) == MODE_OF_B:
            name += "[chmod]"
        if stat.S_ISDIR(st.st_mode):
            words.append(f"{name}/({tree(entry, depth - 1) if depth > 0 else ''})")
        else:
            words.append(f"{name}={text(read_file(entry))}")
    return ",".join(words)


@contextlib.contextmanager
def another_user():
    os.setegid(OTHER)
    os.seteuid(OTHER)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def statx_forced(path):
    """(mode, size, nlink, uid) by statx(2) with AT_STATX_FORCE_SYNC, which no cached attributes may answer."""
    buffer = ctypes.create_string_buffer(256)
    if libc.statx(-100, os.fsencode(path), 0x2000, 0x7FF, buffer) != 0:
        raise OSError(ctypes.get_errno(), "statx")
    _, _, _, nlink, uid, _, mode, _, _, size = struct.unpack_from("=IIQIIIHHQQ", buffer)
    return os.stat_result((mode, 0, 0, nlink, uid, 0, size, 0, 0, 0))


class Clock:
    """
    The clock that the server's disk takes its times from. Two changes within one tick of it have the same ctime, and
    no NFSv3 client can tell them apart.
    """

    def __init__(self, folder):
        self.path = f"{folder}/clock"
        make_file(self.path, b"")

    def now(self):
        os.utime(self.path)
        return os.stat(self.path).st_ctime_ns

    def tick(self):
        before = self.now()
        while self.now() == before:
            time.sleep(0.001)
