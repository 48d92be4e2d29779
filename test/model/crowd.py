"""
Many processes at once in the folder that it is started in: small files, streams, one log that all append to.

usage: crowd.py PROCESSES QUOTA

Each process works until all have done QUOTA steps, so that the slowest finishes its quota while all others run. One
that has done FAIR times its quota while another of the same work is not through says so, and all end. Prints one
line of JSON: the steps of each process, and what went wrong.
"""
import json
import mmap
import os
import struct
import sys
import traceback

FAIR = 50
PIECE = 256 * 1024

processes, quota = int(sys.argv[1]), int(sys.argv[2])
shared = mmap.mmap(-1, 8 * (processes + 1))


def steps(number):
    return struct.unpack_from("q", shared, 8 * number)[0]


def set_steps(number, count):
    struct.pack_into("q", shared, 8 * number, count)


def ended():
    """Somebody has failed, or all are through."""
    return steps(processes) != 0 or all(steps(number) >= quota for number in range(processes))


def small_files(number, count):
    name, other = f"own{number}/a{count % 7}", f"own{number}/b{count % 5}"
    text = f"{number} {count} ".encode() * (1 + count % 300)
    with open(name, "wb") as file:
        file.write(text)
    os.rename(name, other)
    with open(other, "rb") as file:
        assert file.read() == text, f"{other} has changed"
    assert f"b{count % 5}" in os.listdir(f"own{number}"), f"{other} is not listed"
    if count % 3 == 0:
        os.unlink(other)


def stream_out(number, count):
    with open(f"stream{number}", "r+b" if count else "w+b", 0) as file:
        offset = count % 16 * PIECE
        piece = bytes([count % 251]) * PIECE
        assert os.pwrite(file.fileno(), piece, offset) == PIECE
        assert os.pread(file.fileno(), PIECE, offset) == piece, f"stream{number} has changed"


def stream_in(number, count):
    with open("large", "rb", 0) as file:
        offset = count * 7 % 32 * PIECE
        assert os.pread(file.fileno(), PIECE, offset) == bytes([offset // PIECE]) * PIECE, "large has changed"


def watch(number, count):
    """Another client rewrites this file all the time: what the kernel has cached of it goes, while it is read."""
    with open("changing", "rb") as file:
        content = file.read()
    assert not content.strip(b"abcdefghijklmnopqrstuvwxyz"), f"changing holds {content[:100]}"
    os.stat("changing")


def log(number, count):
    with open("log", "ab", 0) as file:
        file.write(f"{number} {count}\n".encode())


ROLES = [small_files, small_files, log, small_files, stream_out, small_files, stream_in, watch]


def work(number):
    role = ROLES[number % len(ROLES)]
    if role is small_files:
        os.mkdir(f"own{number}")
    count = 0
    while not ended():
        role(number, count)
        count += 1
        set_steps(number, count)
        if count >= FAIR * quota:
            slowest = min(range(number % len(ROLES), processes, len(ROLES)), key=steps)
            assert steps(slowest) >= quota, f"process {slowest} starves: {steps(slowest)} steps"


children = []
failures, failures_in = os.pipe()
for number in range(processes):
    child = os.fork()
    if child == 0:
        try:
            work(number)
            os._exit(0)
        except BaseException:
            set_steps(processes, 1)
            os.write(failures_in, f"process {number}: {traceback.format_exc()[-800:]}\n".encode())
            os._exit(1)
    children.append(child)
os.close(failures_in)
with os.fdopen(failures, "r") as file:
    wrong = file.read()
for child in children:
    os.waitpid(child, 0)
print(json.dumps({"steps": [steps(number) for number in range(processes)], "wrong": wrong}))
