"""The first states that A makes, and the changes that A makes to them after B has prepared itself."""
import os

from scene import add_to, make_file

BIG = b"old line\n" * 2000


class Change:
    """
    `make` gives the folder its first state, `change` alters it; both get the folder's path in A. `kind` is what the
    target `t` is at first. `also`: further names that the change touches.
    """

    def __init__(self, name, kind, change, make=None, also=()):
        self.name, self.kind, self.change, self.also = name, kind, change, also
        self.make = make or MAKERS[kind]


def one_file(d):
    make_file(f"{d}/t", b"one\n")
    os.symlink("t", f"{d}/s")


def nothing(d):
    os.symlink("t", f"{d}/s")


def one_directory(d):
    os.mkdir(f"{d}/t")
    make_file(f"{d}/t/x", b"one\n")


def one_link(d):
    make_file(f"{d}/g", b"one\n")
    os.symlink("g", f"{d}/t")


MAKERS = {"file": one_file, "absent": nothing, "dir": one_directory, "link": one_link}


def with_more(make, *more):
    """The state that `make` makes, and then further steps."""

    def made(d):
        make(d)
        for step in more:
            step(d)

    return made


def step(function, *args):
    """A step for a folder: names among the arguments are in it."""

    def done(d):
        function(*(f"{d}/{arg}" if isinstance(arg, str) else arg for arg in args))

    return done


def steps(*all_steps):
    def done(d):
        for each in all_steps:
            each(d)

    return done


def replace(d, name, data):
    make_file(f"{d}/.new", data)
    os.rename(f"{d}/.new", f"{d}/{name}")


def swap(d, one, other):
    os.rename(f"{d}/{one}", f"{d}/.swap")
    os.rename(f"{d}/{other}", f"{d}/{one}")
    os.rename(f"{d}/.swap", f"{d}/{other}")


def relink(d, name, to):
    os.symlink(to, f"{d}/.link")
    os.rename(f"{d}/.link", f"{d}/{name}")


def remove_directory(d):
    os.unlink(f"{d}/t/x")
    os.rmdir(f"{d}/t")


def fresh_directory(d):
    os.mkdir(f"{d}/t")
    make_file(f"{d}/t/x", b"fresh one\n")
    make_file(f"{d}/t/y", b"fresh two\n")


def overwrite(path, data):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


second_file = step(make_file, "g", b"the second\n")
second_directory = steps(step(os.mkdir, "e"), step(make_file, "e/x", b"other one\n"), step(make_file, "e/z", b"other\n"))

OF_FILES = [
    ("append", step(add_to, "t", b"two\n"), None, ()),
    ("append-pages", step(add_to, "t", b"new line\n" * 2000), with_more(one_file, step(make_file, "t", BIG)), ()),
    ("shrink", step(os.truncate, "t", 4), with_more(one_file, step(make_file, "t", b"one\nand more\n")), ()),
    ("same-size", step(overwrite, "t", b"ONE\n"), None, ()),
    ("rewrite", step(make_file, "t", b"rewritten\n"), None, ()),
    ("replace", lambda d: replace(d, "t", b"replaced\n"), None, ()),
    ("replace-same-size", lambda d: replace(d, "t", b"two\n"), None, ()),
    (
        "replace-links",
        lambda d: (replace(d, "t", b"new t\n"), replace(d, "u", b"the new u\n")),
        with_more(one_file, step(os.link, "t", "u")),
        ("u",),
    ),
    ("chmod-grant", step(os.chmod, "t", 0o666), with_more(one_file, step(os.chmod, "t", 0o600)), ()),
    ("chmod-refuse", step(os.chmod, "t", 0o600), with_more(one_file, step(os.chmod, "t", 0o666)), ()),
    ("chmod-exec", step(os.chmod, "t", 0o755), None, ()),
    ("chown", step(os.chown, "t", 61234, 61234), with_more(one_file, step(os.chmod, "t", 0o600)), ()),
    ("unlink", step(os.unlink, "t"), None, ()),
    ("recreate", steps(step(os.unlink, "t"), step(make_file, "t", b"made again\n")), None, ()),
    ("to-directory", steps(step(os.unlink, "t"), step(os.mkdir, "t"), step(make_file, "t/x", b"below\n")), None, ()),
    (
        "to-link",
        steps(step(os.unlink, "t"), lambda d: os.symlink("g", f"{d}/t")),
        with_more(one_file, second_file),
        ("g",),
    ),
    ("rename", step(os.rename, "t", "u"), None, ("u",)),
    ("rename-into", step(os.rename, "t", "d/u"), with_more(one_file, step(os.mkdir, "d")), ("d/u",)),
    ("rename-over", step(os.rename, "g", "t"), with_more(one_file, second_file), ("g",)),
    ("rotate", steps(step(os.rename, "t", "u"), step(make_file, "t", b"new log\n")), None, ("u",)),
    ("swap", lambda d: swap(d, "t", "g"), with_more(one_file, second_file), ("g",)),
    ("link", step(os.link, "t", "u"), None, ("u",)),
    ("unlink-other-name", step(os.unlink, "u"), with_more(one_file, step(os.link, "t", "u")), ("u",)),
]

OF_NOTHING = [
    ("create", step(make_file, "t", b"created\n"), None, ()),
    ("mkdir", steps(step(os.mkdir, "t"), step(make_file, "t/x", b"below\n")), None, ()),
    ("symlink", lambda d: os.symlink("g", f"{d}/t"), with_more(nothing, second_file), ("g",)),
    ("link-here", step(os.link, "g", "t"), with_more(nothing, second_file), ("g",)),
    ("rename-here", step(os.rename, "g", "t"), with_more(nothing, second_file), ("g",)),
]

OF_DIRECTORIES = [
    ("rmdir", remove_directory, None, ()),
    ("dir-to-file", steps(remove_directory, step(make_file, "t", b"a file now\n")), None, ()),
    (
        "dir-to-link",
        steps(remove_directory, lambda d: os.symlink("e", f"{d}/t")),
        with_more(one_directory, second_directory),
        (),
    ),
    ("dir-rename", step(os.rename, "t", "u"), None, ("u", "u/x")),
    ("dir-swap", lambda d: swap(d, "t", "e"), with_more(one_directory, second_directory), ("e", "e/x")),
    ("dir-replace", steps(step(os.rename, "t", "u"), fresh_directory), None, ("u", "t/y")),
    ("dir-recreate", steps(remove_directory, fresh_directory), None, ("t/y",)),
    ("dir-create", step(make_file, "t/y", b"a new one\n"), None, ("t/y",)),
    ("dir-mkdir", step(os.mkdir, "t/y"), None, ("t/y",)),
    ("dir-unlink", step(os.unlink, "t/x"), None, ()),
    ("dir-append", step(add_to, "t/x", b"two\n"), None, ()),
    ("dir-replace-file", lambda d: replace(d, "t/x", b"replaced\n"), None, ()),
    ("dir-rename-file", step(os.rename, "t/x", "t/y"), None, ("t/y",)),
    ("dir-move-out", step(os.rename, "t/x", "y"), None, ("y",)),
    ("dir-grant", step(os.chmod, "t", 0o777), with_more(one_directory, step(os.chmod, "t", 0o700)), ()),
    ("dir-refuse", step(os.chmod, "t", 0o700), with_more(one_directory, step(os.chmod, "t", 0o777)), ()),
    ("dir-chown", step(os.chown, "t", 61234, 61234), with_more(one_directory, step(os.chmod, "t", 0o700)), ()),
]

OF_LINKS = [
    ("retarget", lambda d: relink(d, "t", "h"), with_more(one_link, step(make_file, "h", b"the other\n")), ()),
    (
        "link-recreate",
        steps(step(os.unlink, "t"), lambda d: os.symlink("h", f"{d}/t")),
        with_more(one_link, step(make_file, "h", b"the other\n")),
        (),
    ),
    ("link-to-file", steps(step(os.unlink, "t"), step(make_file, "t", b"a file now\n")), None, ("g",)),
    ("link-unlink", step(os.unlink, "t"), None, ("g",)),
    ("link-dangling", step(os.unlink, "g"), None, ("g",)),
    ("link-append", step(add_to, "g", b"two\n"), None, ("g",)),
    ("link-replace", lambda d: replace(d, "g", b"replaced\n"), None, ("g",)),
    ("link-arrives", step(make_file, "g", b"arrived\n"), lambda d: os.symlink("g", f"{d}/t"), ("g",)),
    ("link-rename", step(os.rename, "t", "u"), None, ("u",)),
]

CHANGES = [
    Change(name, kind, change, make, also)
    for kind, table in [("file", OF_FILES), ("absent", OF_NOTHING), ("dir", OF_DIRECTORIES), ("link", OF_LINKS)]
    for name, change, make, also in table
]
