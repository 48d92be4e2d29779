"""Programs on a mount whose process the kernel kills for want of memory. They begin when "go" comes on standard input, say
what failed, and end with "all right" when the input ends.

usage: in-memory-limit.py MOUNT SUM       SUM: the SHA-256 of the file "big"
"""
import hashlib
import os
import select
import sys
import threading
import traceback

mount, big_sum = sys.argv[1:]
over = threading.Event()
failures = []
lines = 0


def read_big():
    total = hashlib.sha256()
    with open(f'{mount}/big', 'rb', buffering=0) as file:
        while block := file.read(1 << 20):
            total.update(block)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if total.hexdigest() != big_sum:
        raise Exception('another sum')


def write_and_read():
    data = os.urandom(1 << 20)
    with open(f'{mount}/written', 'wb', buffering=0) as file:
        for _ in range(16):
            file.write(data)
    with open(f'{mount}/written', 'rb', buffering=0) as file:
        for _ in range(16):
            if file.read(1 << 20) != data:
                raise Exception('other data than was written')
    os.rename(f'{mount}/written', f'{mount}/last')


def append_line():
    global lines
    with open('log', 'ab', buffering=0) as log:
        log.write(b'line %d\n' % lines)
    lines += 1
    os.listdir('.')
    over.wait(0.05)


def repeat(work):
    def run():
        try:
            while not over.is_set():
                work()
        except Exception:
            traceback.print_exc(file=sys.stdout)
            failures.append(work.__name__)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


os.chdir(f'{mount}/folder')
print('ready', flush=True)
sys.stdin.readline()
threads = [repeat(work) for work in (read_big, write_and_read, append_line)]
sys.stdin.readline()
over.set()
for thread in threads:
    thread.join()
if open('log').read() != ''.join(f'line {at}\n' for at in range(lines)):
    failures.append('log')
print('FAILED' if failures else 'all right', *failures, flush=True)
