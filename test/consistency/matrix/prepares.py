"""The states that B is in when A makes its change."""
import mmap
import os

from scene import NEIGHBOUR, another_user, make_file, read_all, read_file, told


class Prepare:
    """
    `work` brings B into the state, after A has made the first state of the folder. With `early` B does it before that, in
    an empty folder. `knows`: B has used the folder more than once. `by_b`: B made the folder. `inside`: B acts by relative
    names, from the directory that it holds as held["dir"].
    """

    def __init__(self, name, kinds, work, early=False, by_b=False, inside=False, at_once=False, knows=True):
        self.name, self.kinds, self.work = name, kinds, work
        self.early, self.by_b, self.inside, self.at_once = early, by_b, inside, at_once
        self.knows = knows

    def prepare(self, scene):
        self.work(scene)
        if self.knows:
            use(scene.b)
            if scene.kind == "dir" and self.name not in ("missing", "others-missing"):
                use(f"{scene.b}/t")


def use(folder):
    """
    Linux's own client asks for the attributes of a directory once more when it is used for the second time, and for the
    rights of each user who comes to it for the first time, which brings the attributes, too; then it trusts them. A
    directory that has been in use for a while is what can be compared.
    """
    for name in [NEIGHBOUR, NEIGHBOUR, "", NEIGHBOUR]:
        told(os.lstat, f"{folder}/{name}")
    with another_user():
        told(os.lstat, f"{folder}/{NEIGHBOUR}")


ALL = ("file", "absent", "dir", "link")
FILE_LIKE = ("file", "link")


def nothing(scene):
    pass


def looked_at_folder(scene):
    os.stat(scene.b)


def looked_at(scene):
    told(os.stat, scene.target)
    if scene.kind == "link":
        os.lstat(scene.target)
    if scene.kind == "dir":
        os.stat(scene.below)


def listed_names(scene):
    os.listdir(scene.b)
    if scene.kind == "dir":
        os.listdir(scene.target)


def listed_with_attributes(scene):
    for folder in [scene.b] + ([scene.target] if scene.kind == "dir" else []):
        for entry in os.scandir(folder):
            os.lstat(f"{folder}/{entry.name}")


def read_before(scene):
    if scene.kind == "dir":
        os.listdir(scene.target)
        read_file(scene.below)
    else:
        told(read_file, scene.target)


def wrote(scene):
    """B writes what is there once more: the file, or the one behind the link or in the directory."""
    if scene.kind == "absent":
        make_file(scene.target, b"gone again\n")
        os.unlink(scene.target)
        return
    path = scene.below if scene.kind == "dir" else scene.target
    if os.path.exists(path):
        make_file(path, read_file(path))


def hold(flags):
    def held(scene):
        fd = os.open(scene.below if scene.kind == "dir" else scene.target, flags)
        if flags != os.O_PATH:
            read_all(fd)
        scene.held["fd"] = fd

    return held


def mapped(scene):
    path = scene.below if scene.kind == "dir" else scene.target
    fd = os.open(path, os.O_RDONLY)
    scene.held["map"] = mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED, mmap.PROT_READ)
    scene.held["map"][:]
    os.close(fd)


def tried(path, flags):
    fd = told(os.open, path, flags)
    if isinstance(fd, int):
        os.close(fd)


def refused(scene):
    with another_user():
        if scene.kind == "dir":
            told(os.listdir, scene.target)
            tried(f"{scene.target}/new", os.O_CREAT | os.O_WRONLY)
            tried(scene.below, os.O_WRONLY)
        else:
            tried(scene.target, os.O_RDONLY)
            tried(scene.target, os.O_RDWR)


def refused_exec(scene):
    told(os.posix_spawn, scene.target, ["t"], {})


def asked_for_missing(scene):
    """Before A has put anything there, B asks for every name that there will be."""
    for name in ["t", "u", "s", "g", "e", "y"]:
        told(os.stat, f"{scene.b}/{name}")


def asked_for_others(scene):
    """B asks for the names that the change may give a meaning later."""
    for name in ["u", "d/u", "h", "t/y", "t/z"]:
        told(os.stat, f"{scene.b}/{name}")


def hold_directory(scene):
    folder = f"{scene.b}/t" if scene.kind == "dir" else scene.b
    scene.held["dir"] = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def in_directory(scene):
    """Holds the directory by O_PATH, as a working directory does: a process has one of those only, but many descriptors."""
    folder = f"{scene.b}/t" if scene.kind == "dir" else scene.b
    scene.held["dir"] = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    told(os.stat, f"{folder}/x" if scene.kind == "dir" else f"{folder}/t")


PREPARES = [
    Prepare("nothing", ALL, nothing, knows=False),
    Prepare("folder-stat", ALL, looked_at_folder, knows=False),
    Prepare("stat", ALL, looked_at),
    Prepare("ls", ALL, listed_names),
    Prepare("ls-l", ALL, listed_with_attributes),
    Prepare("made", ALL, nothing, by_b=True, knows=False),
    Prepare("made-at-once", ALL, nothing, by_b=True, at_once=True, knows=False),
    Prepare("missing", ALL, asked_for_missing, early=True),
    Prepare("others-missing", ALL, asked_for_others),
    Prepare("read", ALL, read_before),
    Prepare("wrote", ALL, wrote),
    Prepare("hold-read", ("file", "dir", "link"), hold(os.O_RDONLY)),
    Prepare("hold-write", ("file", "dir", "link"), hold(os.O_RDWR)),
    Prepare("o-path", ("file", "dir", "link"), hold(os.O_PATH)),
    Prepare("mapped", FILE_LIKE, mapped),
    # Not for an absent target: before it refuses a creation, FUSE asks for the name and learns that it is missing;
    # Linux's NFS does not ask.
    Prepare("refused", ("file", "dir", "link"), refused),
    Prepare("refused-exec", ("file",), refused_exec),
    Prepare("hold-dir", ALL, hold_directory, inside=True),
    Prepare("cwd", ALL, in_directory, inside=True),
]
