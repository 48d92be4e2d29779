"""Programs on a mount whose process dies again and again, on a kernel that does not repeat requests. System calls may fail that
are under way at a death, with EIO or EINTR: they are made again. Each program says how many of them failed.

usage: storm-old-kernel.py MOUNT SCRATCH
It prints "ready" when all have begun, and ends when there is a file SCRATCH/end.
"""
import errno
import fcntl
import hashlib
import os
import sys
import threading
import traceback

mount, scratch = sys.argv[1:]
over = threading.Event()
wrong = []
failed = {}
rounds = {}
mine = threading.local()


def again(call, *arguments, happened=None):
    """Makes the call until it succeeds. `happened`: its errno if it was carried out although it failed."""
    has_failed = False
    while True:
        try:
            return call(*arguments)
        except OSError as error:
            if has_failed and error.errno == happened:
                return None
            if error.errno not in (errno.EIO, errno.EINTR):
                raise
            has_failed = True
            failed[mine.name] += 1


def read_all(file, length, offset):
    """A call that fails in the middle answers what it has by then."""
    data = b''
    while len(data) < length:
        piece = again(os.pread, file, length - len(data), offset + len(data))
        if not piece:
            break
        data += piece
    return data


def write_all(file, data, offset):
    while data:
        count = again(os.pwrite, file, data, offset)
        data, offset = data[count:], offset + count


def close(file):
    """Linux closes a descriptor also when close(2) fails."""
    try:
        os.close(file)
    except OSError as error:
        if error.errno not in (errno.EIO, errno.EINTR):
            raise
        failed[mine.name] += 1


def repeat(name, work):
    def run():
        mine.name = name
        failed[name] = 0
        count = 0
        try:
            while not over.is_set():
                work(name, count)
                count += 1
        except Exception:
            traceback.print_exc(file=sys.stdout)
            wrong.append(name)
        rounds[name] = count

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def read_big(_, __):
    file = again(os.open, f'{mount}/big', os.O_RDONLY)
    total = hashlib.sha256()
    for at in range(0, len(big), 1 << 17):
        total.update(read_all(file, 1 << 17, at))
    close(file)
    if total.digest() != big_sum:
        raise Exception('another sum')


def write_and_sync(name, count):
    path = f'{mount}/{name}{count % 5}'
    data = os.urandom(50_000)
    file = again(os.open, path, os.O_CREAT | os.O_RDWR)
    for at in range(0, len(data), 10_000):
        write_all(file, data[at:at + 10_000], at)
    again(os.fsync, file)
    found = b''.join(read_all(file, 10_000, at) for at in range(0, len(data), 10_000))
    close(file)
    if found != data:
        raise Exception('other data than was written')


def write_behind(name, count):
    """Nothing confirms the data before it is read."""
    file = again(os.open, f'{mount}/{name}', os.O_CREAT | os.O_RDWR)
    data = b'%08d' % count * 8192
    write_all(file, data, 0)
    close(file)
    file = again(os.open, f'{mount}/{name}', os.O_RDONLY)
    found = read_all(file, len(data), 0)
    close(file)
    if found != data:
        raise Exception('other data than was written')


def make_and_remove(name, count):
    folder = f'{mount}/{name}{count}'
    again(os.mkdir, folder, happened=errno.EEXIST)
    close(again(os.open, f'{folder}/one', os.O_CREAT | os.O_WRONLY))
    again(os.rename, f'{folder}/one', f'{folder}/other', happened=errno.ENOENT)
    if again(os.listdir, folder) != ['other']:
        raise Exception('other names than were made')
    again(os.unlink, f'{folder}/other', happened=errno.ENOENT)
    again(os.rmdir, folder, happened=errno.ENOENT)


total = 0
counting = threading.Lock()


def count_up(_, __):
    global total
    file = again(os.open, f'{mount}/counter', os.O_RDWR)
    again(fcntl.flock, file, fcntl.LOCK_EX)
    before = int(read_all(file, 20, 0))
    write_all(file, b'%d' % (before + 1), 0)
    with counting:
        total += 1
    again(fcntl.flock, file, fcntl.LOCK_UN)
    close(file)


big = os.urandom(1 << 20) * 16
big_sum = hashlib.sha256(big).digest()
for path, content in (('big', big), ('counter', b'0')):
    with open(f'{mount}/{path}', 'wb') as file:
        file.write(content)
works = [read_big, write_and_sync, write_behind, make_and_remove]
threads = [repeat(work.__name__, work) for work in works]
threads += [repeat(f'count_up_{number}', count_up) for number in range(2)]
print('ready', flush=True)
while not os.path.exists(f'{scratch}/end'):
    over.wait(0.2)
over.set()
for thread in threads:
    thread.join()
if int(open(f'{mount}/counter').read()) != total:
    wrong.append('counter')
print('rounds', rounds, flush=True)
print('failed', *(f'{name}={count}' for name, count in failed.items()), flush=True)
print('FAILED' if wrong else 'all right', *wrong, flush=True)
