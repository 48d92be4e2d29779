"""
File handles of the kernel (name_to_handle_at(2), open_by_handle_at(2)) for tests of re-export. Usage:
  handles.py make PATH...              prints one line per path: type:hex
  handles.py use MOUNTPOINT HANDLE...  prints per handle: inode number, file type and, of a file, its first bytes; or
                                       the errno's name
  handles.py parent MOUNTPOINT HANDLE  opens a directory's handle, then "..", and prints its inode number
"""
import ctypes
import errno
import os
import stat
import sys

AT_FDCWD = -100
MAX_HANDLE = 128
libc = ctypes.CDLL(None, use_errno=True)


class Handle(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * MAX_HANDLE)]


def check(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def make(path):
    handle = Handle(size=MAX_HANDLE)
    mount = ctypes.c_int()
    check(libc.name_to_handle_at(AT_FDCWD, path.encode(), ctypes.byref(handle), ctypes.byref(mount), 0))
    return f"{handle.type}:{bytes(handle.data[:handle.size]).hex()}"


def open_handle(mount, text, flags=os.O_RDONLY):
    kind, data = text.split(":")
    raw = bytes.fromhex(data)
    handle = Handle(size=len(raw), type=int(kind))
    ctypes.memmove(handle.data, raw, len(raw))
    return check(libc.open_by_handle_at(mount, ctypes.byref(handle), flags))


def use(mount, text):
    try:
        fd = open_handle(mount, text)
        st = os.fstat(fd)
        data = os.pread(fd, 100, 0).decode() if stat.S_ISREG(st.st_mode) else "directory"
        os.close(fd)
        return f"{st.st_ino} {data}"
    except OSError as error:
        return errno.errorcode[error.errno]


command, *rest = sys.argv[1:]
if command == "make":
    print("\n".join(map(make, rest)))
else:
    mount = os.open(rest[0], os.O_RDONLY | os.O_DIRECTORY)
    if command == "use":
        for text in rest[1:]:
            print(use(mount, text))
    else:
        directory = open_handle(mount, rest[1])
        print(os.stat("..", dir_fd=directory).st_ino)
