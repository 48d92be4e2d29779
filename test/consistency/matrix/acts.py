"""B's acts after the change. After an act that modifies something the server's real state is looked up."""
import os

from deeds import (
    append, change_mode, copied, create_new, create_or_open, end_write, execute, forced_status, grow, link_over, link_target,
    link_to, listing, long_listing, make_directory, may, last_bytes, opened_status, own_status, path_status, read, read_mapping,
    remove_directory, rename_away, rename_over, status, truncate, typed_listing, unlink, write_anew, write_mapping,
)
from scene import MODE_OF_B, NEIGHBOUR, another_user, described, names, read_file, text, told


class Act:
    """
    `work` returns what B is told. `modifies`: the folder's real state afterwards is part of the outcome. `needs`: the
    thing in HOLDS that the preparation must have left to B.
    """

    def __init__(self, name, kinds, work, modifies=False, needs=None):
        self.name, self.kinds, self.work = name, kinds, work
        self.modifies, self.needs = modifies, needs


ALL = ("file", "absent", "dir", "link")
NO_DIR = ("file", "absent", "link")
DIR = ("dir",)
PATHS = {"target": lambda scene: scene.target, "below": lambda scene: scene.below}


# By the target's path: name, kinds, function, whether it modifies.
BY_PATH = [
    ("read", NO_DIR, read, False),
    ("copy", NO_DIR, copied, False),
    ("tail", NO_DIR, last_bytes, False),
    ("stat", ALL, status, False),
    ("lstat", ("file", "link"), own_status, False),
    ("statx-forced", ALL, forced_status, False),
    ("readlink", NO_DIR, link_target, False),
    ("open-fstat", NO_DIR, opened_status, False),
    ("o-path-fstat", ALL, path_status, False),
    ("access", ALL, may, False),
    ("exec", NO_DIR, execute, False),
    ("mmap", NO_DIR, read_mapping, False),
    ("opendir", ALL, listing, False),
    ("ls-l", DIR, long_listing, False),
    ("seek-write", NO_DIR, end_write, True),
    ("append", NO_DIR, append, True),
    ("mmap-write", NO_DIR, write_mapping, True),
    ("excl", ALL, create_new, True),
    ("creat", NO_DIR, create_or_open, True),
    ("creat-trunc", NO_DIR, write_anew, True),
    ("mkdir", ALL, make_directory, True),
    ("unlink", ALL, unlink, True),
    ("rmdir", ALL, remove_directory, True),
    ("rename", ALL, rename_away, True),
    ("rename-over", NO_DIR, rename_over, True),
    ("link", NO_DIR, link_to, True),
    ("link-over", NO_DIR, link_over, True),
    ("truncate", NO_DIR, truncate, True),
    ("grow", NO_DIR, grow, True),
    ("chmod", ALL, change_mode, True),
]

# Acts on t itself that a program inside of t cannot do by relative names.
NOT_INSIDE = {"excl", "mkdir", "unlink", "rmdir", "rename"}

# On the file in the target.
BELOW = ["read", "stat", "open-fstat", "access", "seek-write", "append", "excl", "creat", "unlink", "rename", "link", "truncate"]

# As another user.
AS_OTHER = ["read", "access", "append", "exec", "truncate", "opendir"]
AS_OTHER_BELOW = ["read", "append", "excl", "unlink"]

FUNCTIONS = {name: (function, modifies) for name, _, function, modifies in BY_PATH}


def by_path(function, where):
    return lambda scene: function(PATHS[where](scene))


def by_other(function, where):
    def acted(scene):
        with another_user():
            return function(PATHS[where](scene))

    return acted


def through_link(function):
    return lambda scene: function(scene.in_b("s"))


def after_neighbour(function):
    """B asks for another name of the folder first, and so may learn that it was changed."""

    def acted(scene):
        told(os.lstat, scene.in_b(NEIGHBOUR))
        return function(scene.target)

    return acted


def after_listing(function):
    def acted(scene):
        told(os.listdir, scene.folder)
        return function(scene.target)

    return acted


def after_stat(function):
    def acted(scene):
        told(os.stat, scene.target)
        return function(scene.target)

    return acted


def on_others(function):
    """On the other names that the change touched."""

    def acted(scene):
        words = []
        for name in scene.also:
            if scene.kind == "dir" and scene.inside:
                name = name[2:] if name.startswith("t/") else f"../{name}"
            words.append(f"{name}:{told(function, scene.in_b(name))}")
        return " ".join(words)

    return acted


def on_all_names(function):
    """On the target, the others, and the target again: cat x y z."""
    others = on_others(function)
    return lambda scene: f"{told(function, scene.target)} {others(scene)} {told(function, scene.target)}"


def held_read(scene):
    return text(os.pread(scene.held["fd"], 1 << 17, 0))


def held_status(scene):
    return described(os.fstat(scene.held["fd"]))


def held_end(scene):
    return f"end={os.lseek(scene.held['fd'], 0, os.SEEK_END)}"


def held_write(scene):
    at = os.lseek(scene.held["fd"], 0, os.SEEK_END)
    os.write(scene.held["fd"], b"B\n")
    os.fsync(scene.held["fd"])
    return f"at={at}"


def held_overwrite(scene):
    os.pwrite(scene.held["fd"], b"B", 0)
    os.fsync(scene.held["fd"])
    return "ok"


def held_truncate(scene):
    return os.ftruncate(scene.held["fd"], 2) or "ok"


def held_mode(scene):
    return os.fchmod(scene.held["fd"], MODE_OF_B) or "ok"


def held_reopen(scene):
    """The descriptor opened again, as /dev/stdin is."""
    return text(read_file(f"/proc/self/fd/{scene.held['fd']}"))


def held_map(scene):
    return text(scene.held["map"][:])


def held_listing(scene):
    return names(scene.held["dir"])


def held_dir_status(scene):
    return described(os.fstat(scene.held["dir"]))


HELD = [
    ("held-read", "readable", held_read, False),
    ("held-fstat", "fd", held_status, False),
    ("held-end", "readable", held_end, False),
    ("held-reopen", "fd", held_reopen, False),
    ("held-write", "writable", held_write, True),
    ("held-overwrite", "writable", held_overwrite, True),
    ("held-ftruncate", "writable", held_truncate, True),
    ("held-fchmod", "readable", held_mode, True),
    ("held-map", "map", held_map, False),
    ("held-list", "listable", held_listing, False),
    ("held-dir-fstat", "dir", held_dir_status, False),
]

# The things that B holds after each preparation.
HOLDS = {
    "hold-read": {"fd", "readable"},
    "hold-write": {"fd", "readable", "writable"},
    "o-path": {"fd"},
    "mapped": {"map"},
    "hold-dir": {"dir", "listable"},
    "cwd": {"dir"},
}


def simple(names_of, prefix, wrap, kinds):
    for name in names_of:
        function, modifies = FUNCTIONS[name]
        yield Act(f"{prefix}{name}", kinds, wrap(function), modifies)


def all_acts():
    for name, kinds, function, modifies in BY_PATH:
        yield Act(name, kinds, by_path(function, "target"), modifies)
    yield Act("ls", NO_DIR, lambda scene: names(scene.folder))
    yield Act("ls-l", NO_DIR, lambda scene: long_listing(scene.folder))
    yield Act("ls-types", ALL, lambda scene: typed_listing(scene.folder))
    yield from simple(BELOW, "below-", lambda f: by_path(f, "below"), DIR)
    yield from simple(AS_OTHER, "other-", lambda f: by_other(f, "target"), NO_DIR)
    yield from simple(["opendir", "access"], "other-", lambda f: by_other(f, "target"), DIR)
    yield from simple(AS_OTHER_BELOW, "other-below-", lambda f: by_other(f, "below"), DIR)
    yield from simple(["read", "append", "opendir", "excl"], "by-link-", through_link, ("file", "absent"))
    yield from simple(["read", "append", "stat", "seek-write"], "neighbour-", after_neighbour, ("file", "absent"))
    yield from simple(["read", "append"], "listing-", after_listing, NO_DIR)
    yield from simple(["read", "seek-write", "append"], "stat-", after_stat, NO_DIR)
    yield from simple(["read", "stat"], "others-", on_others, ALL)
    yield from simple(["read", "opendir"], "all-", on_all_names, ALL)
    for name, needs, function, modifies in HELD:
        yield Act(name, ALL, function, modifies, needs)


ACTS = list(all_acts())


# Change -> acts that are left out. With default_permissions the kernel checks permissions by itself and does not ask the
# mount; Linux's NFS is asked. So the mount cannot know better in access(2) where the old mode allows the access (open
# asks the mount), or where a user removes a name without having the right to.
NOT_ASKED = {
    "chmod-refuse": {"access", "other-access"},
    "dir-refuse": {"access", "other-access"},
    "dir-unlink": {"other-below-unlink"},
    "dir-rename-file": {"other-below-unlink"},
    "dir-move-out": {"other-below-unlink"},
}


def applies(prepare, change, act):
    """Whether the three make sense together."""
    if change.kind not in prepare.kinds or change.kind not in act.kinds:
        return False
    if change.name == "link-arrives" and prepare.name in (*HOLDS, "mapped") and not prepare.inside:
        return False
    if act.name in NOT_ASKED.get(change.name, ()):
        return False
    # The kernel itself answers ENOTDIR for a name that it knows as a file. It asks no file system except NFS.
    if act.name.endswith("opendir") and change.kind != "dir" and change.name != "mkdir":
        return False
    if act.name.startswith(("others-", "all-")) and not change.also:
        return False
    if prepare.inside and change.kind == "dir" and act.name in NOT_INSIDE:
        return False
    return act.needs is None or act.needs in HOLDS.get(prepare.name, ())
