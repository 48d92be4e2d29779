"""Processes on two mounts that lock the same few ranges of a file, are interrupted, and are killed while they hold locks.

usage: rivals.py SEED ROUNDS MARKS FILE FILE

MARKS is a folder on a local disk. Each lock that is held is marked there by a fcntl(2) lock of a file of its own, which says
at once if two have the same range. (A flock(2) lock of a dead process ends later than its locks at the server.) Prints a line for each such case, and at the end the number of locks that were had."""

import fcntl
import os
import random
import signal
import struct
import sys
import time

RANGES = 4
PROCESSES = 3


def lock(file, kind, number, wait):
    request = struct.pack("hhqqi", kind, 0, number * 10, 10, 0)
    fcntl.fcntl(file, fcntl.F_SETLKW if wait else fcntl.F_SETLK, request)


def rival(path, marks_folder, rounds, dice, tell):
    """One process. Ends with the number of rounds that are left: it may kill itself."""
    # Opened first: the kernel closes them first when the process dies, before its locks at the server end.
    marks = [os.open(f"{marks_folder}/{number}", os.O_RDWR | os.O_CREAT) for number in range(RANGES)]
    file = os.open(path, os.O_RDWR)
    signal.signal(signal.SIGALRM, interrupted)
    for left in range(rounds, 0, -1):
        number = dice.randrange(RANGES)
        shared = dice.random() < 0.3
        wait = dice.random() < 0.7
        if wait:
            signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.002, 0.2))
        try:
            lock(file, fcntl.F_RDLCK if shared else fcntl.F_WRLCK, number, wait)
        except BlockingIOError:
            continue
        except Interrupted:
            # The signal may have come after the lock.
            lock(file, fcntl.F_UNLCK, number, True)
            continue
        except OSError as error:
            tell(f"ERROR {error}")
            continue
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            fcntl.lockf(marks[number], (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"TWICE range {number}, shared {shared}")
        tell("had")
        time.sleep(dice.uniform(0, 0.003))
        if dice.random() < 0.03:
            tell(f"left {left - 1}")
            os.kill(os.getpid(), signal.SIGKILL)
        fcntl.lockf(marks[number], fcntl.LOCK_UN)
        lock(file, fcntl.F_UNLCK, number, True)


class Interrupted(InterruptedError):
    """A wait was given up."""


def interrupted(_signal, _frame):
    raise Interrupted()


def main():
    seed, rounds, marks = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    dice = random.Random(seed)
    waiting = [(path, rounds) for path in sys.argv[4:] for _ in range(PROCESSES)]
    running = {}
    had = 0
    while waiting or running:
        for path, count in waiting:
            reader, writer = os.pipe()
            own = random.Random(dice.random())
            pid = os.fork()
            if pid == 0:
                os.close(reader)
                rival(path, marks, count, own, lambda line: os.write(writer, f"{line}\n".encode()))
                os._exit(0)
            os.close(writer)
            running[pid] = (path, os.fdopen(reader))
        waiting = []
        pid, _ = os.wait()
        path, lines = running.pop(pid)
        for line in lines.read().splitlines():
            if line == "had":
                had += 1
            elif line.startswith("left "):
                waiting.append((path, int(line[5:])))
            else:
                print(line)
    print(f"had {had}")


main()
