"""
Processes that lock files for a test. This program stands for one machine: it starts workers, which are processes of their
own, hands requests to them, and ends them. A worker forks another if it is asked to; the child takes requests like its parent.

Lines of JSON on standard input: {"id": n, "to": worker, "op": name, "args": [...]}. An empty "to" means the program itself,
whose operations are spawn (of a worker) and kill (by SIGKILL). A request with "apart": true is carried out by a
thread, so that its worker takes others while that one waits. Offsets are decimal digits, since JSON's numbers end at 2^53.

Lines on standard output: {"id": n, "ok": value} or {"id": n, "errno": name}; {"began": worker, "pid": n} once a worker takes
requests; {"ended": worker} once its process is gone, with all files closed. At the end of the input all workers are killed.

With "connect HOST PORT" as arguments the lines go over a TCP connection instead, which it makes. "accept PORT" is the other
end: it only copies between one connection and its own standard input and output.
"""
import ctypes
import errno
import fcntl
import json
import os
import selectors
import signal
import socket
import struct
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
# struct flock of 64-bit machines: type, whence, start, length, pid.
FLOCK = struct.Struct("=hh4xqqi4x")
TYPES = {"s": fcntl.F_RDLCK, "x": fcntl.F_WRLCK, "u": fcntl.F_UNLCK}
LETTERS = {number: letter for letter, number in TYPES.items()}
COMMANDS = {
    "get": fcntl.F_GETLK, "set": fcntl.F_SETLK, "wait": fcntl.F_SETLKW, "ofdget": 36, "ofdset": 37, "ofdwait": 38,
}
FLOCKS = {"s": fcntl.LOCK_SH, "x": fcntl.LOCK_EX, "u": fcntl.LOCK_UN}
# The numbers of fcntl and flock, which /proc shows for a thread that sleeps in one of them.
SYSTEM_CALLS = {"x86_64": ["72", "73"], "aarch64": ["25", "32"]}[os.uname().machine]
MODES = {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}
# The signal that ends a wait.
WAKE = signal.SIGUSR1


def check(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def lock_struct(kind, whence, start, length):
    return ctypes.create_string_buffer(FLOCK.pack(TYPES[kind], whence, int(start), int(length), 0), FLOCK.size)


class Worker:
    """Carries out requests. Its calls by ctypes do not begin again after a signal, as Python's own do."""

    def __init__(self, name, address, files):
        self.files = files
        self.address = address
        self.threads = {}
        self.sending = threading.Lock()
        self.control = socket.socket(socket.AF_UNIX)
        self.control.connect(address)
        self.send({"began": name, "pid": os.getpid()})

    def send(self, message):
        with self.sending:
            self.control.sendall(json.dumps(message).encode() + b"\n")

    def serve(self):
        for line in self.control.makefile("rb"):
            request = json.loads(line)
            if not request.get("apart"):
                self.carry_out(request)
                continue
            thread = threading.Thread(target=self.carry_out, args=(request,), daemon=True)
            self.threads[request["id"]] = thread
            thread.start()

    def carry_out(self, request):
        try:
            answer = {"ok": getattr(self, "do_" + request["op"])(*request["args"])}
        except OSError as error:
            answer = {"errno": errno.errorcode.get(error.errno, str(error.errno))}
        except Exception as error:  # a bug of the test, reported as one
            answer = {"errno": "TEST", "message": f"{type(error).__name__}: {error}"}
        self.send({"id": request["id"], **answer})

    # ---- files; descriptors have names

    def do_open(self, name, path, mode):
        self.files[name] = os.open(path, MODES[mode])

    def do_dup(self, name, of):
        self.files[name] = os.dup(self.files[of])

    def do_close(self, name):
        os.close(self.files.pop(name))

    def do_closeAll(self):
        for name in list(self.files):
            self.do_close(name)

    def do_read(self, name, offset, length):
        return os.pread(self.files[name], length, int(offset)).decode("latin1")

    def do_write(self, name, offset, text):
        return os.pwrite(self.files[name], text.encode("latin1"), int(offset))

    def do_seek(self, name, offset):
        os.lseek(self.files[name], int(offset), os.SEEK_SET)

    def do_create(self, path, text):
        with open(path, "x", encoding="latin1") as file:
            file.write(text)

    def do_unlink(self, path):
        os.unlink(path)

    def do_link(self, old, new):
        os.link(old, new)

    # ---- locks

    def do_fcntl(self, command, name, kind, whence, start, length):
        """Answers the lock that F_GETLK found, and None to the other commands."""
        lock = lock_struct(kind, whence, start, length)
        check(libc.fcntl(self.files[name], COMMANDS[command], lock))
        if "get" not in command:
            return None
        found, whence, start, length, pid = FLOCK.unpack(lock.raw)
        return {"kind": LETTERS[found], "whence": whence, "start": str(start), "length": str(length), "pid": pid}

    def do_flock(self, name, kind, wait):
        check(libc.flock(self.files[name], FLOCKS[kind] | (0 if wait else fcntl.LOCK_NB)))

    def do_sleeps(self, request):
        """Whether the thread of a request sleeps in fcntl or flock, or at all where the kernel does not say in what."""
        folder = f"/proc/self/task/{self.threads[request].native_id}"
        try:
            with open(f"{folder}/syscall", encoding="ascii") as file:
                return file.read().split()[0] in SYSTEM_CALLS
        except FileNotFoundError:
            with open(f"{folder}/stat", encoding="latin1") as file:
                return file.read().rsplit(")")[-1].split()[0] in "SD"

    def do_picture(self, name, points):
        """How each of these bytes could be had: x exclusively, s shared only, - not at all. Nothing stays locked."""
        return "".join(self.could_have(self.files[name], point) for point in points)

    @staticmethod
    def could_have(fd, point):
        for kind in ["x", "s"]:
            if libc.fcntl(fd, fcntl.F_SETLK, lock_struct(kind, 0, point, 1)) == 0:
                check(libc.fcntl(fd, fcntl.F_SETLK, lock_struct("u", 0, point, 1)))
                return kind
            if ctypes.get_errno() not in (errno.EAGAIN, errno.EACCES):
                check(-1)
        return "-"

    def do_interrupt(self, request):
        """Sends signals to the thread of a request until it has ended: a single one might come before the wait begins."""
        thread = self.threads.pop(request)
        while thread.is_alive():
            signal.pthread_kill(thread.ident, WAKE)
            thread.join(0.1)

    def do_count(self, path, rounds):
        """Adds 1 to the number in a file, each time under an exclusive lock."""
        lock, unlock = lock_struct("x", 0, 0, 0), lock_struct("u", 0, 0, 0)
        fd = os.open(path, os.O_RDWR)
        for _ in range(rounds):
            check(libc.fcntl(fd, fcntl.F_SETLKW, lock))
            number = int(os.pread(fd, 32, 0))
            os.pwrite(fd, b"%d\n" % (number + 1), 0)
            check(libc.fcntl(fd, fcntl.F_SETLK, unlock))
        os.close(fd)

    # ---- processes

    def do_fork(self, name):
        """The child has the parent's descriptors, under the same names."""
        if os.fork() == 0:
            self.control.close()
            serve_as(name, self.address, self.files)

    def do_exit(self):
        os._exit(0)


def serve_as(name, address, files):
    """Makes this process a worker, for good."""
    try:
        signal.signal(WAKE, lambda *_: None)
        signal.siginterrupt(WAKE, True)
        Worker(name, address, files).serve()
    finally:
        os._exit(0)


class Machine:
    """Starts workers and passes lines between them and the test."""

    def __init__(self, source, sink):
        self.sink = sink
        self.address = f"\0nfs-fuse-lock-workers-{os.getpid()}"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.address)
        self.listener.listen(64)
        self.selector = selectors.DefaultSelector()
        # Worker -> its socket, and its process.
        self.sockets = {}
        self.pids = {}
        self.watch_lines(source, self.request, self.end)
        self.watch(self.listener, self.accept)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    def watch(self, thing, ready):
        self.selector.register(thing, selectors.EVENT_READ, ready)

    def watch_lines(self, thing, take, end):
        fd = thing if isinstance(thing, int) else thing.fileno()
        rest = b""

        def ready():
            nonlocal rest
            data = os.read(fd, 65536)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                take(json.loads(line))
            if not data:
                end()

        self.watch(thing, ready)

    def say(self, message):
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self.sink, data):]

    def run(self):
        while True:
            for key, _ in self.selector.select():
                key.data()

    def accept(self):
        control = self.listener.accept()[0]

        def take(message):
            if "began" in message:
                name, pid = message["began"], message["pid"]
                self.sockets[name], self.pids[name] = control, pid
                # Readable when the process has ended: after its files were closed, which its socket may be before.
                process = os.pidfd_open(pid)
                self.watch(process, lambda: self.ended(name, process))
            self.say(message)

        def end():
            self.selector.unregister(control)
            control.close()

        self.watch_lines(control, take, end)

    def ended(self, name, process):
        self.selector.unregister(process)
        os.close(process)
        del self.sockets[name], self.pids[name]
        self.say({"ended": name})

    def request(self, request):
        if request["to"] == "":
            getattr(self, "do_" + request["op"])(*request["args"])
            return
        try:
            self.sockets[request["to"]].sendall(json.dumps(request).encode() + b"\n")
        except (KeyError, OSError):
            self.say({"id": request["id"], "errno": "TEST", "message": f"there is no worker {request['to']}"})

    def do_spawn(self, name):
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.closerange(3, 4096)
            serve_as(name, self.address, {})

    def do_kill(self, name):
        os.kill(self.pids[name], signal.SIGKILL)

    def end(self):
        for pid in self.pids.values():
            os.kill(pid, signal.SIGKILL)
        os._exit(0)


def connect(host, port):
    """A connection, made as soon as the other end listens."""
    while True:
        try:
            return socket.create_connection((host, port))
        except ConnectionRefusedError:
            time.sleep(0.1)


def copy(source, sink):
    while data := os.read(source, 65536):
        while data:
            data = data[os.write(sink, data):]


def relay(port):
    """Copies until one of the two ends."""
    with socket.create_server(("", port)) as listener:
        connection = listener.accept()[0]
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send():
        copy(0, connection.fileno())
        connection.shutdown(socket.SHUT_WR)

    threading.Thread(target=send, daemon=True).start()
    copy(connection.fileno(), 1)


def main():
    mode, *rest = sys.argv[1:] or [""]
    if mode == "accept":
        relay(int(rest[0]))
        return
    if mode == "connect":
        connection = connect(rest[0], int(rest[1]))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        os.dup2(connection.fileno(), 0)
        os.dup2(connection.fileno(), 1)
        connection.close()
    Machine(0, 1).run()


main()
