"""Calls that make a new name, in every shape of path: what they answer, and what is there behind.

exclusive-acts.py build       makes the names that are there already, in the working directory
exclusive-acts.py act         one line for each call: the shape, the call, and the error
exclusive-acts.py watch N     looks at names that are there, while others try to make them, N times; prints what was missing
exclusive-acts.py lie N       calls mkdir(2) with a path that another process changes meanwhile, N times
"""
import ctypes
import errno
import mmap
import os
import stat
import sys
import threading

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
KINDS = ('file', 'directory', 'link', 'dangling', 'nothing')


def make(kind, path):
    if kind == 'file':
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    elif kind == 'directory':
        os.mkdir(path)
    elif kind == 'link':
        os.symlink('.', path)
    elif kind == 'dangling':
        os.symlink('no such name', path)


def opened(path, at, flags=0):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | flags, 0o644, dir_fd=at))


CALLS = {
    'open': opened,
    'mkdir': lambda path, at: os.mkdir(path, dir_fd=at),
    'mknod': lambda path, at: os.mknod(path, stat.S_IFREG | 0o644, dir_fd=at),
    'symlink': lambda path, at: os.symlink('target', path, dir_fd=at),
    'link': lambda path, at: os.link(f'{os.path.dirname(path) or "."}/old', path, src_dir_fd=at, dst_dir_fd=at,
                                     follow_symlinks=False),
    # The kernel looks the same name up for the old path.
    'link to itself': lambda path, at: os.link(path, path, src_dir_fd=at, dst_dir_fd=at, follow_symlinks=False),
    # O_CREAT counts for nothing here.
    'O_PATH': lambda path, at: opened(path, at, os.O_PATH),
}


def shapes(top):
    """The path to `{}` in a new directory, what has to be there for it, and where the call begins."""
    return {
        'name': ('{}', []),
        'sub': ('sub/{}', []),
        'deep': ('sub/deep/{}', []),
        'slash': ('sub/{}/', []),
        'slash dot': ('sub/{}/.', []),
        'up': ('sub/../{}', []),
        'below itself': ('{}/{}', []),
        'absolute': (top + '/sub/{}', []),
        'through link': ('tosub/{}', [('tosub', 'sub')]),
        'through link to here': ('here/{}', [('here', '.')]),
        # The name is looked up on the way as well: what it stands for there has to be found.
        'through link to name': ('way/{}', [('way', '{}')]),
        'through link below name': ('way/{}', [('way', 'sub/../{}/../sub')]),
        'through absolute link': ('way/{}', [('way', top + '/{}')]),
        'link beside': ('sub/way/{}', [('sub/way', '../{}')]),
        'long': ('/'.join(['sub', 'deep'] + ['.'] * 1500) + '/{}', []),
        'too long': ('./' * 2100 + '{}', []),
        'bytes': ('sub/\udcff{}', []),
        'longest': ('sub/' + 'n' * 200 + '{}', []),
    }


def places():
    top = os.environ.get('TOP', os.getcwd())
    for shape, (path, links) in shapes('TOP').items():
        for kind in KINDS:
            for call in CALLS:
                folder = f'{shape}-{kind}-{call}'.replace(' ', '_')
                yield shape, kind, call, folder, path.replace('TOP', f'{top}/{folder}'), [
                    (name, to.replace('TOP', f'{top}/{folder}')) for name, to in links
                ]


def attempt(work):
    try:
        work()
        return 'done'
    except OSError as error:
        return errno.errorcode[error.errno]


def build():
    for _, kind, _, folder, path, links in places():
        os.makedirs(f'{folder}/sub/deep')
        for way in ('', 'sub/', 'sub/deep/'):
            make('file', f'{folder}/{way}old')
            make(kind, f'{folder}/{way}n')
        for name in ('sub/' + 'n' * 201, 'sub/\udcffn'):
            make(kind, f'{folder}/{name}')
        for name, to in links:
            # By the mount in which it is used, the way to the top is another one.
            os.symlink(to.format('n'), f'{folder}/{name}')


def look(path):
    try:
        found = os.lstat(path)
        return f'{stat.filemode(found.st_mode)[0]} {found.st_nlink if stat.S_ISREG(found.st_mode) else ""}'
    except OSError as error:
        return errno.errorcode[error.errno]


def in_child(work):
    """The outcome of something that changes the process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, attempt(work).encode())
        os._exit(0)
    os.close(writer)
    answer = os.read(reader, 100).decode()
    os.close(reader)
    os.waitpid(child, 0)
    return answer


def mount(source, target, flags):
    if libc.mount(source.encode(), target.encode(), b'none', flags, None) != 0:
        raise OSError(ctypes.get_errno(), 'mount')


def act():
    top = os.environ.get('TOP', os.getcwd())
    for index, (shape, kind, call, folder, path, _) in enumerate(places()):
        path = path.format('n', 'n') if path.count('{}') > 1 else path.format('n')
        relative = not path.startswith('/')
        how = index % 4

        def work():
            if how == 1 and relative:
                at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    CALLS[call](path, at)
                finally:
                    os.close(at)
            elif how == 2:
                thread_outcome = []
                os.chdir(folder)
                thread = threading.Thread(target=lambda: thread_outcome.append(attempt(lambda: CALLS[call](path, None))))
                thread.start()
                thread.join()
                if thread_outcome != ['done']:
                    raise OSError(getattr(errno, thread_outcome[0]), 'in a thread')
            else:
                os.chdir(folder)
                CALLS[call](path, None)

        def chrooted():
            os.chdir(folder)
            os.chroot('.')
            CALLS[call](path if relative else path[len(f'{top}/{folder}'):], None)

        outcome = in_child(chrooted) if how == 3 else attempt(work)
        os.chdir(top)
        names = [f'{folder}/{way}n' for way in ('', 'sub/', 'sub/deep/')]
        print(shape, kind, call, how, outcome, *[look(name) for name in names], sep='|')
    namespaces()


def namespaces():
    """Other mounts over directories of this one, in a mount namespace of its own."""
    os.makedirs('ns/hidden/way/n')
    os.makedirs('ns/other/deep/n')
    os.symlink('../hidden/way/n', 'ns/other/way')
    os.mkdir('ns/view')

    def bound():
        if libc.unshare(CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), 'unshare')
        mount('none', '/', MS_REC | MS_PRIVATE)
        mount('ns', 'ns/view', MS_BIND)
        mount('ns/other', 'ns/hidden', MS_BIND)

    def through_bind(path, call):
        def work():
            bound()
            CALLS[call](path, None)
        return in_child(work)

    for path in ('ns/hidden/way/n', 'ns/hidden/deep/n', 'ns/view/hidden/way/n', 'ns/view/other/deep/new', 'ns/hidden/deep/n'):
        for call in ('open', 'mkdir'):
            print('bound', path, call, through_bind(path, call), sep='|')


def watch(count):
    """Names n0, n1, … are there."""
    missing = []
    ended = threading.Event()

    def look_on(first):
        while not ended.is_set():
            for i in range(first, count, 3):
                if not os.path.lexists(f'n{i}'):
                    missing.append(f'n{i}')

    watchers = [threading.Thread(target=look_on, args=(first,)) for first in range(3)]
    for thread in watchers:
        thread.start()
    for i in range(count):
        outcomes = {attempt(lambda: CALLS[call](f'n{i}', None)) for call in ('mkdir', 'open', 'symlink')}
        if outcomes != {'EEXIST'}:
            missing.append(f'n{i}: {outcomes}')
        new = f'new{i}'
        opened(new, None)
        if not os.path.lexists(new):
            missing.append(new)
    ended.set()
    for thread in watchers:
        thread.join()
    print(*missing, sep='\n')


def lie(count):
    memory = mmap.mmap(-1, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    paths = [b'n0/n0\0', b'./n0\0\0', b'n0\0xx\0', b'sub/n0']
    child = os.fork()
    if child == 0:
        while True:
            for path in paths:
                memory[0:len(path)] = path
    for _ in range(count):
        libc.mkdir(ctypes.c_void_p(address), 0o755)
    os.kill(child, 9)
    os.waitpid(child, 0)


if __name__ == '__main__':
    name, *numbers = sys.argv[1:]
    {'build': build, 'act': act, 'watch': watch, 'lie': lie}[name](*map(int, numbers))
