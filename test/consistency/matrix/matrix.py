#!/usr/bin/env python3
"""
The consistency matrix: B prepares itself, A changes something, B acts; for every combination of the three, one line
with the combination's name and what B was told.

usage: matrix.py [--later SECONDS] [--every N] [--only TEXT] A B LOOK
  A, B     two mounts of one export (for the truth, one local directory twice)
  LOOK     where the real state is looked up after B has modified something: the exported directory itself, or a mount
           that caches nothing
  --later  B acts so long after the changes: when attributes that have run out must have been fetched again
  --every  each Nth combination only;  --only: those whose name contains the text;  --names: only says their names

Run as root: some acts are another user's. A combination works in a folder of its own, below one that the run makes.
"""
import argparse
import hashlib
import os
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from acts import ACTS, applies  # noqa: E402
from changes import CHANGES  # noqa: E402
from prepares import PREPARES  # noqa: E402
from scene import NEIGHBOUR, Clock, Scene, error, tree  # noqa: E402

FRESH_SECONDS = 2.0
"""Cached attributes are trusted for 3 s at least: by then B must have acted, or the combination tells nothing."""
TRIES = 8
LATER_BATCH = 200
STUCK_SECONDS = 200
"""
A system call that has not returned by then never will. A call takes milliseconds, but nfs-ganesha loses one in ten
thousand, and clients ask again after a minute.
"""


class Stuck(Exception):
    pass


def is_stuck(*_):
    raise Stuck


def combinations():
    for prepare in PREPARES:
        for change in CHANGES:
            for act in ACTS:
                if applies(prepare, change, act):
                    yield f"{prepare.name}/{change.name}/{act.name}", prepare, change, act


def chosen(every, only):
    """Every Nth, spread evenly over all prepares, changes and acts: by the hash of the name, so the same each time."""
    for combination in combinations():
        number = int(hashlib.sha256(combination[0].encode()).hexdigest()[:8], 16)
        if number % every == 0 and only in combination[0]:
            yield combination


class Run:
    def __init__(self, a, b, look):
        self.roots = (a, b, look)
        self.name = f"matrix-{os.getpid()}-{time.time_ns()}"
        self.groups = set()
        self.count = 0
        os.mkdir(f"{look}/{self.name}")
        self.clock = Clock(f"{look}/{self.name}")
        self.late = 0

    def scene(self, kind, by_b):
        """
        A folder name for a new combination; few in one directory, so that none grows large. The client that makes the
        folder also makes the directories above it.
        """
        self.count += 1
        maker = self.roots[1 if by_b else 0]
        base = f"{self.name}-{'b' if by_b else 'a'}"
        group = f"{base}/{self.count // 200}"
        for directory in (base, group):
            if directory not in self.groups:
                os.mkdir(f"{maker}/{directory}")
                self.groups.add(directory)
        return Scene(*(f"{root}/{group}/{self.count}" for root in self.roots), kind)

    def make(self, prepare, change):
        scene = self.scene(change.kind, prepare.by_b)
        scene.also = change.also
        if prepare.at_once:
            self.clock.tick()
        os.mkdir(scene.b if prepare.by_b else scene.a)
        if prepare.early:
            prepare.prepare(scene)
        if prepare.early or (prepare.by_b and not prepare.at_once):
            self.clock.tick()
        change.make(scene.a)
        os.symlink("t", f"{scene.a}/{NEIGHBOUR}")
        if not prepare.early:
            prepare.prepare(scene)
        return scene

    def act(self, scene, prepare, act):
        signal.setitimer(signal.ITIMER_REAL, STUCK_SECONDS)
        try:
            if prepare.inside:
                os.fchdir(scene.held["dir"])
                scene.inside = True
            outcome = act.work(scene)
        except Stuck:
            outcome = "HANGS"
        except OSError as failure:
            outcome = error(failure)
        except ValueError as failure:
            # mmap of an empty file.
            outcome = f"ValueError:{failure}".replace(" ", "_")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            if prepare.inside:
                os.chdir("/")
        if act.modifies and outcome != "HANGS":
            outcome = f"{outcome} | {tree(scene.look)}"
        scene.close()
        return outcome

    def at_once(self, prepare, change, act):
        for _ in range(TRIES):
            began = time.monotonic()
            scene = self.make(prepare, change)
            self.clock.tick()
            change.change(scene.a)
            outcome = self.act(scene, prepare, act)
            if outcome == "HANGS" or time.monotonic() - began < FRESH_SECONDS:
                return outcome
            self.late += 1
        raise SystemExit(f"{prepare.name}/{change.name}/{act.name}: takes longer than attributes are trusted")

    def later(self, batch, seconds):
        made = [self.make(prepare, change) for _, prepare, change, _ in batch]
        self.clock.tick()
        for scene, (_, _, change, _) in zip(made, batch):
            change.change(scene.a)
        time.sleep(seconds)
        for scene, (name, prepare, _, act) in zip(made, batch):
            yield name, self.act(scene, prepare, act)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--later", type=float)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--names", action="store_true")
    parser.add_argument("folders", nargs="*")
    options = parser.parse_args()
    todo = list(chosen(options.every, options.only))
    if options.names:
        print("\n".join(name for name, *_ in todo))
        return
    os.umask(0o022)
    os.setgroups([])
    os.chdir("/")
    signal.signal(signal.SIGALRM, is_stuck)
    began = time.monotonic()
    run = Run(*map(os.path.abspath, options.folders))
    if options.later is None:
        for name, prepare, change, act in todo:
            print(f"{name}\t{run.at_once(prepare, change, act)}")
    else:
        for first in range(0, len(todo), LATER_BATCH):
            for name, outcome in run.later(todo[first : first + LATER_BATCH], options.later):
                print(f"{name}\t{outcome}")
    took = time.monotonic() - began
    print(f"{len(todo)} combinations in {took:.1f} s, {run.late} repeated", file=sys.stderr)


if __name__ == "__main__":
    main()
