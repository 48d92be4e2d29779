"""The witness of a crowd: it marks what the owners of locks hold for certain, as OFD locks of a local file, one for each byte.

Threads that share an owner may lock and unlock a byte at the same time, and nobody knows who was last. Then the byte counts as
held no more strongly than the weakest of them left it."""

import contextlib
import fcntl
import os
import struct
import threading

#: Bytes of a file that are locked one by one. A lock that reaches the last one reaches the end of the file.
BYTES = 12
FREE, SHARED, EXCLUSIVE = range(3)
TYPES = {FREE: fcntl.F_UNLCK, SHARED: fcntl.F_RDLCK, EXCLUSIVE: fcntl.F_WRLCK}
F_OFD_SETLK = 37


class Byte:
    """One byte: how it is marked, and when requests for SHARED and for FREE have weakened it."""

    def __init__(self):
        self.marked = FREE
        self.under_way = {FREE: 0, SHARED: 0}
        self.last_end = {FREE: 0, SHARED: 0}

    def weakened(self, how, since):
        return self.under_way[how] > 0 or self.last_end[how] > since


class Witness:
    """Of one owner and file. `tell` hears of each lock that was had twice."""

    guard = threading.Lock()
    moment = 0
    every = set()

    def __init__(self, marks, name, tell):
        self.fd = os.open(marks, os.O_RDWR | os.O_CREAT)
        self.name, self.tell = name, tell
        self.bytes = [Byte() for _ in range(BYTES)]
        with Witness.guard:
            Witness.every.add(self)

    @contextlib.contextmanager
    def asking(self, how, start, end):
        """While the owner asks for a range. `had` of what this gives is to be called when it was granted."""
        asked = Asked(self, how, start, end)
        try:
            yield asked
        finally:
            asked.end()

    def forget(self):
        """The owner is about to end."""
        with Witness.guard:
            Witness.every.discard(self)
            os.close(self.fd)

    @classmethod
    def forget_all(cls):
        """This process is about to end: nothing is marked any more."""
        cls.guard.acquire()
        for witness in cls.every:
            os.close(witness.fd)

    def mark(self, at, how):
        byte = self.bytes[at]
        if byte.marked == how:
            return
        try:
            fcntl.fcntl(self.fd, F_OFD_SETLK, struct.pack("hhqqi4x", TYPES[how], 0, at, 1, 0))
            byte.marked = how
        except BlockingIOError:
            kind = "exclusive" if how == EXCLUSIVE else "shared"
            self.tell(f"TWICE byte {at}, the second time by an {kind} {self.name}")


class Asked:
    def __init__(self, witness, how, start, end):
        self.witness, self.how, self.range = witness, how, range(start, end)
        with Witness.guard:
            for at in self.range:
                byte = witness.bytes[at]
                if how < byte.marked:
                    witness.mark(at, how)
                if how != EXCLUSIVE:
                    byte.under_way[how] += 1
            self.since = Witness.moment

    def had(self):
        with Witness.guard:
            for at in self.range:
                byte = self.witness.bytes[at]
                if self.how == FREE or byte.weakened(FREE, self.since):
                    continue
                weakly = self.how == SHARED or byte.weakened(SHARED, self.since)
                if not weakly or byte.marked == FREE:
                    self.witness.mark(at, SHARED if weakly else EXCLUSIVE)

    def end(self):
        with Witness.guard:
            Witness.moment += 1
            if self.how == EXCLUSIVE:
                return
            for at in self.range:
                byte = self.witness.bytes[at]
                byte.under_way[self.how] -= 1
                byte.last_end[self.how] = Witness.moment
