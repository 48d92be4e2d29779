"""
Mounts SOURCE once more on TARGET, idmapped by a user namespace: what container runtimes do for each volume of a pod with a user
namespace of its own. Prints the errno's name if a call fails, and its own status is then 1.

usage: idmapped.py SOURCE TARGET /proc/PID/ns/user
"""
import ctypes
import errno
import os
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
# The same numbers on every architecture.
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH = 1, 4
MOUNT_ATTR_IDMAP = 0x100000


def call(name, number, *args):
    result = libc.syscall(ctypes.c_long(number), *args)
    if result >= 0:
        return result
    print(f"{name}: {errno.errorcode[ctypes.get_errno()]}")
    sys.exit(1)


source, target, namespace = sys.argv[1:]
tree = call("open_tree", OPEN_TREE, ctypes.c_int(AT_FDCWD), os.fsencode(source), ctypes.c_uint(OPEN_TREE_CLONE))
users = os.open(namespace, os.O_RDONLY)
# struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
attributes = struct.pack("=QQQQ", MOUNT_ATTR_IDMAP, 0, 0, users)
call("mount_setattr", MOUNT_SETATTR, ctypes.c_int(tree), b"", ctypes.c_uint(AT_EMPTY_PATH), attributes,
     ctypes.c_size_t(len(attributes)))
call("move_mount", MOVE_MOUNT, ctypes.c_int(tree), b"", ctypes.c_int(AT_FDCWD), os.fsencode(target),
     ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH))
