"""Asynchronous direct writes (io_submit(2)) of one descriptor beside buffered reads and a memory map of others.

usage: direct-writes.py FILE ROUNDS     prints how often something old was seen after a write had ended, as JSON
"""
import ctypes
import json
import mmap
import os
import platform
import struct
import sys
import threading

SIZE = 64 * 4096
# By architecture, as in the kernel's tables of system calls.
IO_SETUP, IO_SUBMIT, IO_GETEVENTS = {'x86_64': (206, 209, 208)}.get(platform.machine(), (0, 2, 4))
IOCB_CMD_PWRITE = 1

libc = ctypes.CDLL(None, use_errno=True)


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


context = ctypes.c_ulong(0)
checked(libc.syscall(IO_SETUP, 8, ctypes.byref(context)))


class Write:
    """A write of SIZE bytes at the start of the file, on its way."""

    def __init__(self, fd, letter):
        self.data = mmap.mmap(-1, SIZE)
        self.data.write(letter * SIZE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.data))
        # struct iocb of linux/aio_abi.h.
        block = struct.pack('=QIIHhIQQqQII', 0, 0, 0, IOCB_CMD_PWRITE, 0, fd, address, SIZE, 0, 0, 0, 0)
        self.block = ctypes.create_string_buffer(block, len(block))
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(self.block))
        checked(libc.syscall(IO_SUBMIT, context, 1, pointers))

    def wait(self):
        event = ctypes.create_string_buffer(32)
        checked(libc.syscall(IO_GETEVENTS, context, 1, 1, event, None))
        written = struct.unpack_from('=q', event, 16)[0]
        if written != SIZE:
            raise OSError(-written, f'the write wrote {written}')


def main():
    path, rounds = sys.argv[1], int(sys.argv[2])
    with open(path, 'wb') as file:
        file.write(b'a' * SIZE)
    reader = os.open(path, os.O_RDONLY)
    writer = os.open(path, os.O_RDWR | os.O_DIRECT)
    mapped = mmap.mmap(reader, SIZE, prot=mmap.PROT_READ)
    done = False

    def read_all_the_time():
        fd = os.open(path, os.O_RDONLY)
        while not done:
            os.pread(fd, SIZE, 0)
        os.close(fd)

    thread = threading.Thread(target=read_all_the_time)
    thread.start()
    old = {'read': 0, 'mapped': 0}
    try:
        for number in range(rounds):
            letter = bytes([ord('b') + number % 20])
            write = Write(writer, letter)
            os.pread(reader, SIZE, 0)
            mapped[:]
            write.wait()
            old['read'] += os.pread(reader, SIZE, 0) != letter * SIZE
            old['mapped'] += mapped[:] != letter * SIZE
    finally:
        done = True
        thread.join()
    print(json.dumps(old))


main()
