"""Programs on a mount whose process dies again and again. Each says FAILED and why, or how often it has done its work.

usage: storm.py MOUNT SCRATCH SOURCES FILES
It prints "ready" when all have begun, and ends when there is a file SCRATCH/end.
"""
import fcntl
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import traceback

mount, scratch, sources, files = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
over = threading.Event()
failures = []
rounds = {}


def shell(command):
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    if done.returncode != 0:
        raise Exception(f'{command}: status {done.returncode}: {done.stdout[-300:]} {done.stderr[-300:]}')
    return done.stdout


def sum_of(path):
    total = hashlib.sha256()
    with open(path, 'rb', buffering=0) as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def sum_of_tree(path):
    return shell(f'cd {path} && find . -type f -print0 | sort -z | xargs -0 cat | sha256sum')


def repeat(name, work):
    def run():
        count = 0
        try:
            while not over.is_set():
                work(count)
                count += 1
        except Exception:
            traceback.print_exc(file=sys.stdout)
            failures.append(name)
        rounds[name] = rounds.get(name, 0) + count

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def pack_tree(_):
    out = f'{scratch}/unpacked'
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    shell(f'tar cf - -C {mount}/tree . | tar xf - -C {out}')
    if sum_of_tree(out) != tree_sum:
        raise Exception('the tree that was packed differs')


def unpack_tree(count):
    out = f'{mount}/unpacked{count}'
    os.makedirs(out)
    shell(f'tar xf {scratch}/tree.tar -C {out}')
    if sum_of_tree(out) != tree_sum:
        raise Exception('the tree that was unpacked differs')
    shutil.rmtree(out)


def git(count):
    clone = f'{mount}/clone{count}'
    shell(f'git clone -q {scratch}/repository {clone} && cd {clone} && git -c gc.autoDetach=false gc -q && git fsck')
    shutil.rmtree(clone)


def commit_rows(count):
    database = sqlite3.connect(f'{mount}/database', timeout=120)
    if count == 0:
        database.execute('create table t(a integer primary key, b text)')
    for _ in range(10):
        with database:
            database.execute('insert into t(b) values (?)', ('x' * 100,))
    (found,) = database.execute('select count(*) from t').fetchone()
    database.close()
    if found != (count + 1) * 10:
        raise Exception(f'{found} rows instead of {(count + 1) * 10}')


def read_big(_):
    if sum_of(f'{mount}/big') != big_sum:
        raise Exception('another sum')


def sit_in_folder(_):
    shell(f'cd {mount}/folder && for i in 1 2 3 4 5; do ls > /dev/null && cat here && sleep 0.3 || exit 1; done')


def find_all(_):
    names = shell(f'find {mount}/many -type f').split()
    if len(names) != files or len(set(names)) != files:
        raise Exception(f'{len(names)} names, {len(set(names))} of them different, instead of {files}')


def write_and_sync(count):
    path = f'{mount}/synced{count % 5}'
    data = os.urandom(50_000)
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC)
    os.write(fd, data)
    os.fsync(fd)
    os.close(fd)
    with open(path, 'rb') as file:
        if file.read() != data:
            raise Exception('other data than was written')


def append_line(count):
    with open(f'{mount}/log', 'ab', buffering=0) as log:
        log.write(b'line %d\n' % count)
    over.wait(0.05)


longest_pause = 0


def ask_the_server(_):
    """Every open(2) of another file takes a call to the server."""
    global longest_pause
    begun = time.monotonic()
    open(f'{mount}/folder/here').close()
    longest_pause = max(longest_pause, time.monotonic() - begun)
    over.wait(0.005)


total = 0
counting = threading.Lock()


def count_up(_):
    global total
    with open(f'{mount}/counter', 'r+b', buffering=0) as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        before = int(os.pread(counter.fileno(), 20, 0))
        os.pwrite(counter.fileno(), b'%d' % (before + 1), 0)
        fcntl.flock(counter, fcntl.LOCK_UN)
    with counting:
        total += 1


shutil.copytree(sources, f'{mount}/tree')
shell(f'tar cf {scratch}/tree.tar -C {sources} .')
tree_sum = sum_of_tree(sources)
repository = f'{scratch}/repository'
shell(f'git init -q {repository} && cp -r {sources} {repository}/files && cd {repository} && git add . && '
      'git -c user.name=n -c user.email=e commit -qm all')
block = os.urandom(1 << 20)
with open(f'{mount}/big', 'wb') as big:
    for _ in range(64):
        big.write(block)
big_sum = hashlib.sha256(block * 64).hexdigest()
os.makedirs(f'{mount}/folder')
for name, content in (('folder/here', ''), ('counter', '0'), ('log', '')):
    with open(f'{mount}/{name}', 'w') as file:
        file.write(content)
for folder in range(files // 100):
    os.makedirs(f'{mount}/many/{folder}')
    for at in range(100):
        open(f'{mount}/many/{folder}/{at}', 'w').close()
tail = subprocess.Popen(['tail', '-f', '-n', '+1', f'{mount}/log'], stdout=open(f'{scratch}/tail', 'wb'))
print('ready', flush=True)
works = [pack_tree, unpack_tree, git, commit_rows, read_big, sit_in_folder, find_all, write_and_sync, append_line,
         ask_the_server]
threads = [repeat(work.__name__, work) for work in works] + [repeat('count_up', count_up) for _ in range(2)]
while not os.path.exists(f'{scratch}/end'):
    over.wait(0.2)
over.set()
for thread in threads:
    thread.join()
expected = ''.join(f'line {at}\n' for at in range(rounds['append_line']))
for _ in range(100):
    if open(f'{scratch}/tail').read() == expected:
        break
    over.clear()
    over.wait(0.1)
else:
    failures.append('tail')
tail.kill()
if int(open(f'{mount}/counter').read()) != total:
    failures.append('counter')
print('rounds', rounds, flush=True)
print(f'longest pause: {longest_pause * 1000:.0f} ms', flush=True)
print('FAILED' if failures else 'all right', *failures, flush=True)
