"""The things that a program can do by a path: one function for each, which returns what the program is told."""
import mmap
import os
import stat

from scene import MODE_OF_B, add_to, counts, described, make_file, names, read_all, read_file, statx_forced, text, told


def read(path):
    return text(read_file(path))


def status(path):
    return described(os.stat(path))


def own_status(path):
    return described(os.lstat(path))


def forced_status(path):
    return described(statx_forced(path))


def link_target(path):
    return "->" + os.readlink(path)


def end_write(path):
    """Adds to a file as a program does that does not use O_APPEND: it seeks to the end and writes there."""
    fd = os.open(path, os.O_RDWR)
    try:
        at = os.lseek(fd, 0, os.SEEK_END)
        os.write(fd, b"B\n")
    finally:
        os.close(fd)
    return f"at={at}"


def append(path):
    return add_to(path, b"B\n") or "ok"


def opened_status(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        st = os.fstat(fd)
        # The end of a directory is each file system's own affair.
        end = "" if stat.S_ISDIR(st.st_mode) else f" end={os.lseek(fd, 0, os.SEEK_END)}"
        return described(st) + end
    finally:
        os.close(fd)


def path_status(path):
    fd = os.open(path, os.O_PATH)
    try:
        return described(os.fstat(fd))
    finally:
        os.close(fd)


def may(path):
    kinds = [("r", os.R_OK), ("w", os.W_OK), ("x", os.X_OK)]
    st = told(os.stat, path)
    if isinstance(st, str):
        return st
    return "may=" + "".join(letter for letter, mode in kinds if os.access(path, mode, effective_ids=True))


def execute(path):
    """ENOEXEC means that the file may be executed and that the kernel has read it."""
    pid = os.posix_spawn(path, ["t"], {})
    return f"status={os.waitpid(pid, 0)[1]}"


def listing(path):
    return names(path)


def long_listing(path):
    words = []
    for name in sorted(filter(counts, os.listdir(path))):
        st = told(os.lstat, f"{path}/{name}")
        words.append(f"{name}:{st if isinstance(st, str) else described(st).replace(' ', ',')}")
    return " ".join(words) or "-"


def typed_listing(path):
    """The types that the listing itself brings (d_type)."""
    with os.scandir(path) as entries:
        kinds = [
            f"{e.name}:{'d' if e.is_dir(follow_symlinks=False) else 'l' if e.is_symlink() else 'f'}"
            for e in entries
            if counts(e.name)
        ]
    return ",".join(sorted(kinds)) or "-"


def create_new(path):
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    os.write(fd, b"B\n")
    os.close(fd)
    return "ok"


def create_or_open(path):
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        seen = read_all(fd)
        os.write(fd, b"B\n")
        return text(seen)
    finally:
        os.close(fd)


def write_anew(path):
    return make_file(path, b"B\n") or "ok"


def make_directory(path):
    return os.mkdir(path) or "ok"


def unlink(path):
    return os.unlink(path) or "ok"


def remove_directory(path):
    return os.rmdir(path) or "ok"


def rename_away(path):
    return os.rename(path, f"{path}.moved") or "ok"


def rename_over(path):
    make_file(f"{path}.mine", b"of B\n")
    return os.rename(f"{path}.mine", path) or "ok"


def link_to(path):
    return os.link(path, f"{path}.link", follow_symlinks=False) or "ok"


def link_over(path):
    make_file(f"{path}.mine", b"of B\n")
    return os.link(f"{path}.mine", path) or "ok"


def truncate(path):
    return os.truncate(path, 2) or "ok"


def grow(path):
    return os.truncate(path, 20) or "ok"


def change_mode(path):
    os.chmod(path, MODE_OF_B)
    return described(os.stat(path))


def read_mapping(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        with mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapping:
            return text(mapping[:])
    finally:
        os.close(fd)


def write_mapping(path):
    """Writes the first byte through a mapping that is as long as fstat says. The bytes after it must survive."""
    fd = os.open(path, os.O_RDWR)
    try:
        with mmap.mmap(fd, 0, mmap.MAP_SHARED) as mapping:
            mapping[0:1] = b"B"
            mapping.flush()
            return f"length={len(mapping)}"
    finally:
        os.close(fd)


def copied(path):
    """Reads as cp does: it takes the size by stat, then reads that many bytes."""
    size = os.stat(path).st_size
    fd = os.open(path, os.O_RDONLY)
    try:
        return text(os.pread(fd, size, 0))
    finally:
        os.close(fd)


def last_bytes(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            return "EISDIR"
        at = os.lseek(fd, -3, os.SEEK_END)
        return f"at={at} {text(os.read(fd, 100))}"
    finally:
        os.close(fd)
