"""A crowd of programs that lock ranges of files on several mounts, and a witness that says at once when a range is had twice.

usage: crowd.py SEED OPERATIONS PROCESSES MARKS FOLDER...

Each of PROCESSES processes on each mounted FOLDER has threads, which take shared and exclusive locks of random ranges by
fcntl(2), as OFD locks and by flock(2), strengthen, weaken and unlock parts of them, and close descriptors. Signals reach them
wherever they wait, and processes are killed while they hold locks. OPERATIONS is the number of each thread.

MARKS is a folder on a local disk, where every lock that is held for certain is marked by an OFD lock. The marks are made after
a lock is granted and taken away before it is given up, so they contradict each other only if a range is had twice.

Prints a line for each lock that was had twice and each error, and at the end counts of what was done."""

import ctypes
import errno
import fcntl
import os
import random
import signal
import struct
import sys
import threading
import time

from witness import BYTES, EXCLUSIVE, FREE, SHARED, Witness

FILES = 3
THREADS = 3
LONGEST_WAIT = 0.05
F_OFD_SETLK, F_OFD_SETLKW = 37, 38
TYPES = {FREE: fcntl.F_UNLCK, SHARED: fcntl.F_RDLCK, EXCLUSIVE: fcntl.F_WRLCK}
#: Reasons for which a lock is not had, and nothing is wrong.
REFUSALS = (errno.EAGAIN, errno.EINTR, errno.EDEADLK)

libc = ctypes.CDLL(None, use_errno=True)


def failed(result):
    """The error of a system call, 0 for none. Python's own functions repeat a call that a signal has interrupted."""
    return ctypes.get_errno() if result < 0 else 0


class Program:
    """One process. Its threads share the locks of fcntl(2)."""

    def __init__(self, folder, marks, seed, tell):
        self.marks, self.seed, self.tell = marks, seed, tell
        self.paths = [f"{folder}/{number}" for number in range(FILES)]
        self.owned = [self.witness(number, "fcntl") for number in range(FILES)]
        self.waiting = {}
        self.dying = threading.Lock()

    def witness(self, number, kind):
        return Witness(f"{self.marks}/{number}", f"{kind} lock of {os.getpid()}, file {number}", self.tell)

    def run(self, operations):
        """The least number of operations that a thread has left."""
        signal.signal(signal.SIGUSR1, lambda _signal, _frame: None)
        threads = [Thread(self, number, operations) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        dice = random.Random(self.seed)
        while any(thread.is_alive() for thread in threads):
            time.sleep(dice.uniform(0.001, 0.01))
            for ident, since in list(self.waiting.items()):
                if time.monotonic() - since > LONGEST_WAIT or dice.random() < 0.03:
                    self.interrupt(ident)

    def interrupt(self, ident):
        try:
            signal.pthread_kill(ident, signal.SIGUSR1)
        except ProcessLookupError:
            pass

    def die(self, left):
        """Without a word to anybody. The marks go first: the kernel closes files in an order of its own."""
        self.dying.acquire()
        Witness.forget_all()
        self.tell(f"left {left}")
        os.kill(os.getpid(), signal.SIGKILL)


class Lock:
    """A lock of one owner on one file: how it is asked for, by which descriptor, and what is marked of it."""

    def __init__(self, kind, fd, witness):
        self.kind, self.fd, self.witness = kind, fd, witness

    def ask(self, how, start, end, wait):
        if self.kind == "flock":
            by = {FREE: fcntl.LOCK_UN, SHARED: fcntl.LOCK_SH, EXCLUSIVE: fcntl.LOCK_EX}[how]
            return failed(libc.flock(self.fd, by | (0 if wait else fcntl.LOCK_NB)))
        length = 0 if end == BYTES else end - start
        request = ctypes.create_string_buffer(struct.pack("hhqqi4x", TYPES[how], 0, start, length, 0))
        if self.kind == "fcntl":
            command = fcntl.F_SETLKW if wait else fcntl.F_SETLK
        else:
            command = F_OFD_SETLKW if wait else F_OFD_SETLK
        return failed(libc.fcntl(self.fd, command, request))


class Thread(threading.Thread):
    def __init__(self, program, number, operations):
        super().__init__(daemon=True)
        self.program, self.operations = program, operations
        self.dice = random.Random(program.seed * 10 + number)

    def run(self):
        try:
            self.work()
        except OSError as error:
            self.program.tell(f"ERROR {error}")

    def work(self):
        self.locks = [self.open(number, kind) for number in range(FILES) for kind in ("fcntl", "ofd", "flock")]
        for left in range(self.operations, 0, -1):
            self.step()
            if self.dice.random() < 0.005:
                self.program.die(left - 1)
        for lock in self.locks:
            self.close(lock)

    def open(self, number, kind):
        fd = os.open(self.program.paths[number], os.O_RDWR)
        owned = self.program.owned[number] if kind == "fcntl" else self.program.witness(number, kind)
        lock = Lock(kind, fd, owned)
        lock.number = number
        return lock

    def step(self):
        dice = self.dice
        lock = dice.choice(self.locks)
        start = dice.randrange(BYTES)
        end = min(start + dice.choice((1, 2, 4, 8)), BYTES)
        if lock.kind == "flock" or dice.random() < 0.05:
            start, end = 0, BYTES
        chance = dice.random()
        if chance < 0.55:
            self.set(lock, dice.choice((SHARED, EXCLUSIVE)), start, end)
            if dice.random() < 0.4:
                time.sleep(dice.uniform(0, 0.004))
        elif chance < 0.7:
            self.set(lock, FREE, start, end)
        elif chance < 0.92:
            # Otherwise locks of all kinds soon stand against each other.
            for one in self.locks:
                self.set(one, FREE, 0, BYTES)
        else:
            self.close(lock)
            self.locks[self.locks.index(lock)] = self.open(lock.number, lock.kind)

    def set(self, lock, how, start, end):
        wait = self.dice.random() < 0.7
        with lock.witness.asking(how, start, end) as asked:
            error = self.interruptible(lambda: lock.ask(how, start, end, wait))
            if error == 0:
                asked.had()
        if error == 0 and how != FREE:
            self.program.tell("had")
        elif error == errno.EINTR:
            self.program.tell("interrupted")
        elif error != 0 and error not in REFUSALS:
            self.program.tell(f"ERROR {lock.kind} {how} {start}-{end} of file {lock.number}: {os.strerror(error)}")

    def close(self, lock):
        """Ends the locks of an open file, and those that its process has of the file by fcntl(2)."""
        owned = self.program.owned[lock.number]
        with owned.asking(FREE, 0, BYTES):
            if lock.witness is not owned:
                lock.witness.forget()
            error = self.interruptible(lambda: failed(libc.close(lock.fd)))
        if error != 0:
            self.program.tell(f"ERROR close of file {lock.number}: {os.strerror(error)}")

    def interruptible(self, call):
        ident = threading.get_ident()
        self.program.waiting[ident] = time.monotonic()
        try:
            return call()
        finally:
            del self.program.waiting[ident]


def main():
    seed, operations, processes, marks = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    dice = random.Random(seed)
    waiting = [(folder, operations) for folder in sys.argv[5:] for _ in range(processes)]
    running = {}
    counts = {"had": 0, "interrupted": 0, "died": 0}
    while waiting or running:
        for folder, count in waiting:
            reader, writer = os.pipe()
            own = dice.randrange(2**31)
            pid = os.fork()
            if pid == 0:
                os.close(reader)
                tell = lambda line: os.write(writer, f"{line}\n".encode())
                Program(folder, marks, own, tell).run(count)
                os._exit(0)
            os.close(writer)
            running[pid] = (folder, Lines(reader))
        waiting = []
        pid, _ = os.wait()
        folder, lines = running.pop(pid)
        for line in lines.all():
            if line in counts:
                counts[line] += 1
            elif line.startswith("left "):
                counts["died"] += 1
                waiting.append((folder, int(line[5:])))
            else:
                print(line)
    print(*(f"{name} {count}" for name, count in counts.items()))


class Lines:
    """The lines of one process. They are read all the time, since a pipe takes little."""

    def __init__(self, reader):
        self.said = []
        self.thread = threading.Thread(target=self.read, args=(reader,))
        self.thread.start()

    def read(self, reader):
        with os.fdopen(reader) as file:
            self.said.extend(line.rstrip("\n") for line in file)

    def all(self):
        self.thread.join()
        return self.said


main()
