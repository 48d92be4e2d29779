"""
Carries out system calls for a test, one JSON line each on standard input, answers on standard output: so that a
test can hold files open, on mounts of other users and namespaces, and reach what Node's fs cannot express.

Request: {"id": n, "op": name, "args": [...]}. Bytes travel as {"b": base64}, integers beyond 2^53 as {"n": digits}.
Answer: {"id": n, "ok": value} or {"id": n, "errno": name, "message": text}.
"""
import base64
import ctypes
import errno
import json
import mmap
import os
import socket
import struct
import subprocess
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = ctypes.c_void_p
libc.readdir64.restype = ctypes.c_void_p
libc.readdir64.argtypes = [ctypes.c_void_p]
libc.telldir.restype = ctypes.c_long
libc.telldir.argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
libc.seekdir.restype = None
libc.rewinddir.argtypes = [ctypes.c_void_p]
libc.rewinddir.restype = None
libc.closedir.argtypes = [ctypes.c_void_p]

maps = {}
streams = {}


def decode(value):
    if isinstance(value, dict):
        return base64.b64decode(value["b"]) if "b" in value else int(value["n"])
    return [decode(item) for item in value] if isinstance(value, list) else value


def encode(value):
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"b": base64.b64encode(value).decode("ascii")}
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else {"n": str(value)}
    if isinstance(value, dict):
        return {"d": {key: encode(item) for key, item in value.items()}}
    return [encode(item) for item in value]


def attributes(st):
    names = ["mode", "ino", "dev", "nlink", "uid", "gid", "size", "blocks", "blksize", "rdev"]
    out = {name: getattr(st, "st_" + name) for name in names}
    for name in ["atime", "mtime", "ctime"]:
        out[name + "Ns"] = getattr(st, "st_" + name + "_ns")
    return out


def check(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def utimens(path, atime, mtime, follow):
    """atime, mtime: nanoseconds, "now" or "omit"."""
    special = {"now": (0, (1 << 30) - 1), "omit": (0, (1 << 30) - 2)}
    pairs = [special[t] if isinstance(t, str) else (t // 10**9, t % 10**9) for t in (atime, mtime)]
    times = ctypes.create_string_buffer(struct.pack("=qqqq", *pairs[0], *pairs[1]))
    check(libc.utimensat(-100, path, times, 0 if follow else 0x100))


class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("reclen", ctypes.c_uint16),
                ("type", ctypes.c_uint8), ("name", ctypes.c_char * 256)]


def dir_open(path):
    stream = libc.opendir(path)
    if not stream:
        check(-1)
    key = max(streams, default=0) + 1
    streams[key] = stream
    return key


def dir_next(key):
    """The next entry [name, ino, type, position after it], or None at the end."""
    ctypes.set_errno(0)
    entry = libc.readdir64(streams[key])
    if not entry:
        if ctypes.get_errno():
            check(-1)
        return None
    dirent = Dirent.from_address(entry)
    return [dirent.name, dirent.ino, dirent.type, libc.telldir(streams[key])]


def dir_rest(key, limit):
    """Up to `limit` names from here on; "." and ".." are among them."""
    names = []
    while len(names) < limit:
        entry = dir_next(key)
        if entry is None:
            break
        names.append(entry[0])
    return names


def make_files(directory, prefix, first, count):
    for index in range(first, first + count):
        name = os.path.join(directory, prefix + b"%07d" % index)
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


def check_listing(directory, prefix, count):
    """Compares one pass through a directory with what make_files made: [entries, repeated, missing, others]."""
    key = dir_open(directory)
    names = dir_rest(key, 1 << 30)
    libc.closedir(streams.pop(key))
    wanted = {prefix + b"%07d" % index for index in range(count)}
    seen = set(names)
    others = [name for name in seen - wanted if name not in (b".", b"..")]
    return [len(names), len(names) - len(seen), len(wanted - seen), len(others)]


def unlink_while_reading(directory):
    """The classic loop: unlink each name as readdir gives it. Returns [unlinked, ENOENT seen]."""
    key = dir_open(directory)
    unlinked, absent = 0, 0
    while True:
        entry = dir_next(key)
        if entry is None:
            break
        if entry[0] in (b".", b".."):
            continue
        try:
            os.unlink(os.path.join(directory, entry[0]))
            unlinked += 1
        except FileNotFoundError:
            absent += 1
    libc.closedir(streams.pop(key))
    return [unlinked, absent]


def parallel_write(path, writers, blocks, block):
    """Forked writers write interleaved blocks of one file, each its own byte; returns the exit statuses."""
    children = []
    for writer in range(writers):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                fd = os.open(path, os.O_WRONLY)
                for index in range(writer, blocks, writers):
                    os.pwrite(fd, bytes([65 + writer]) * block, index * block)
                os.close(fd)
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    return [os.waitpid(pid, 0)[1] for pid in children]


def parallel_append(path, writers, lines):
    """Forked writers append numbered lines with O_APPEND; returns the exit statuses."""
    children = []
    for writer in range(writers):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                fd = os.open(path, os.O_WRONLY | os.O_APPEND)
                for index in range(lines):
                    os.write(fd, b"%d %d\n" % (writer, index))
                os.close(fd)
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    return [os.waitpid(pid, 0)[1] for pid in children]


def in_child(op, args):
    """Runs an operation in a forked child, which shares the open descriptors."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(answer(op, args)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    parts = []
    while part := os.read(reader, 65536):
        parts.append(part)
    os.close(reader)
    os.waitpid(pid, 0)
    return b"".join(parts)


def map_open(fd, length, writable, private=False):
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    key = max(maps, default=0) + 1
    maps[key] = mmap.mmap(fd, length, mmap.MAP_PRIVATE if private else mmap.MAP_SHARED, protection)
    return key


def map_write(key, offset, data):
    maps[key][offset:offset + len(data)] = data


def read_direct(path, offset, length):
    """One O_DIRECT read into aligned memory."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        memory = mmap.mmap(-1, length)
        got = os.preadv(fd, [memory], offset)
        return memory[:got]
    finally:
        os.close(fd)


def write_direct(path, offset, data):
    fd = os.open(path, os.O_WRONLY | os.O_DIRECT)
    try:
        memory = mmap.mmap(-1, len(data))
        memory[:] = data
        return os.pwritev(fd, [memory], offset)
    finally:
        os.close(fd)


def bind_socket(path):
    end = socket.socket(socket.AF_UNIX)
    try:
        end.bind(path)
    finally:
        end.close()


def execute(argv, cwd):
    done = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return [done.returncode, done.stdout, done.stderr]


def statvfs(path):
    st = os.statvfs(path)
    return {name: getattr(st, "f_" + name) for name in ["bsize", "frsize", "blocks", "bfree", "bavail", "files",
                                                       "ffree", "namemax"]}


def list_names(path):
    return sorted(os.listdir(path))


def read_file(path):
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def write_file(path, data):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view):]
    finally:
        os.close(fd)


def become(uid, gid, groups):
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def flag_rename(old, new, flags):
    check(libc.renameat2(-100, old, -100, new, flags))


def fallocate(fd, mode, offset, length):
    check(libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)))


OPERATIONS = {
    "open": os.open, "close": os.close, "read": os.read, "write": os.write, "dup": os.dup,
    "pread": lambda fd, length, offset: os.pread(fd, length, offset),
    "pwrite": lambda fd, data, offset: os.pwrite(fd, data, offset),
    "lseek": os.lseek, "ftruncate": os.ftruncate, "truncate": os.truncate, "fsync": os.fsync,
    "fdatasync": os.fdatasync, "fstat": lambda fd: attributes(os.fstat(fd)),
    "stat": lambda path: attributes(os.stat(path)), "lstat": lambda path: attributes(os.lstat(path)),
    "mkdir": os.mkdir, "rmdir": os.rmdir, "unlink": os.unlink, "rename": os.rename, "renameat2": flag_rename,
    "link": lambda old, new: os.link(old, new, follow_symlinks=False), "symlink": os.symlink, "readlink": os.readlink,
    "mkfifo": os.mkfifo, "mknod": os.mknod, "bindSocket": bind_socket, "chmod": os.chmod, "fchmod": os.fchmod,
    "chown": os.chown, "lchown": os.lchown, "fchown": os.fchown, "utimens": utimens, "list": list_names,
    "access": lambda path, mode: os.access(path, mode, effective_ids=True), "statvfs": statvfs, "chdir": os.chdir, "fchdir": os.fchdir,
    "getcwd": os.getcwdb, "umask": os.umask, "become": become, "fallocate": fallocate,
    "getxattr": os.getxattr, "setxattr": os.setxattr, "listxattr": os.listxattr,
    "mmap": map_open, "mapRead": lambda key, offset, length: maps[key][offset:offset + length],
    "mapWrite": map_write, "msync": lambda key: maps[key].flush(), "munmap": lambda key: maps.pop(key).close(),
    "readDirect": read_direct, "writeDirect": write_direct, "dirOpen": dir_open, "dirNext": dir_next,
    "dirRest": dir_rest, "dirSeek": lambda key, position: libc.seekdir(streams[key], position),
    "dirRewind": lambda key: libc.rewinddir(streams[key]), "dirClose": lambda key: check(libc.closedir(streams.pop(key))),
    "makeFiles": make_files, "checkListing": check_listing, "unlinkWhileReading": unlink_while_reading,
    "parallelWrite": parallel_write, "parallelAppend": parallel_append, "inChild": in_child, "execute": execute,
    "readFile": read_file, "writeFile": write_file,
}


def answer(op, args):
    try:
        return {"ok": encode(OPERATIONS[op](*args))}
    except OSError as error:
        name = "EOPNOTSUPP" if error.errno == errno.EOPNOTSUPP else errno.errorcode.get(error.errno, str(error.errno))
        return {"errno": name, "message": str(error)}
    except Exception as error:  # a bug of the test, reported as one
        return {"errno": "TEST", "message": f"{type(error).__name__}: {error}"}


def main():
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps({"id": request["id"], **answer(request["op"], decode(request["args"]))}), flush=True)


main()
