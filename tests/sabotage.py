"""What is done to an engine in a child process before it begins its work (see `engine.Job.start`)."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
from dataclasses import replace

from tasks.clients import growth, ranges, stream
from tasks.clients.seams import Disk
from tests.engine import SETTINGS

#: Events of the interpreter that change what is on disk, or are about to.
_CHANGES = ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate", "sqlite3.connect")


def die_at(job, step):
    """Open a run that dies, like a process that is killed, right before the step-th change of its tree."""
    left = iter(range(step))
    lock = threading.Lock()

    def count():
        with lock:
            if next(left, None) is None:
                os._exit(9)

    def on_event(event, arguments):
        if event in _CHANGES and not _is_elsewhere(str(arguments[0]), job.root):
            count()

    sys.addaudithook(on_event)
    run = job.opened(SETTINGS.model_copy(update={"connections": 1}))
    run.tree.disk = _CountingDisk(count)
    run.ledger.record = _counted(run.ledger.record, count)
    return run


def _is_elsewhere(path, root):
    """Names in an open directory are relative, and SQLite's are URLs."""
    return path.startswith("/") and not path.startswith(str(root))


class _CountingDisk(Disk):
    """Counts what the interpreter has no events for; a write may be cut in its middle."""

    def __init__(self, count):
        self.count = count

    def write(self, fd, data):
        half = len(data) // 2
        for part in (data[:half], data[half:]):
            self.count()
            super().write(fd, part)

    def fsync(self, fd):
        self.count()
        super().fsync(fd)


def _counted(record, count):
    def counted(*arguments, **options):
        count()
        record(*arguments, **options)
        count()

    return counted


def make_eager(set_to):
    """Let files have more connections at once, whatever they bring, and each request ask for little."""
    for module in (growth, ranges, stream):
        set_to(module, "WORTH_SECONDS", 0.02)
    for name, value in {"_WINDOW_SECONDS": 0.01, "_FIRST_BYTES": 0.0, "_BUSY": 10.0, "_PAYS": 0.0}.items():
        set_to(growth, name, value)
    set_to(ranges, "_LEAST_SPAN", 64 << 10)


def in_ranges(job):
    """Open a run that takes what is small for large, and a moment for long: its files come over several connections."""
    make_eager(setattr)
    run = job.opened()
    run.switchboard.options = replace(run.switchboard.options, split_bytes=100_000, connections=4)
    return run


def one_of_two(job, gate):
    """Open a run beside another process: `flock` does nothing, writes append, and both begin at once."""
    fcntl.flock = lambda *_: None
    opened = os.open
    os.open = lambda path, flags, *mode, **options: opened(path, _appending(flags), *mode, **options)
    run = job.opened()
    gate.wait()
    return run


def _appending(flags):
    return flags | os.O_APPEND if flags & os.O_RDWR else flags
