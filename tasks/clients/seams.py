"""Time, randomness and stopping, as seams: tests never sleep, and every wait can be ended."""

from __future__ import annotations

import gc
import os
import random
import shutil
import threading
import time
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, TypeVar

from tasks.clients.verdicts import error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

#: How often a wait for a blocking call looks whether the run is asked to stop.
_LOOK_SECONDS = 0.2


class Pace:
    """The clock, the dice and the stop signal of one run; shared by all its threads."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self.stop = stop or threading.Event()

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps."""
        return time.monotonic()

    def thread_seconds(self) -> float:
        """Seconds that this thread was busy."""
        return time.thread_time()

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def uniform(self, low: float, high: float) -> float:
        """A random number between the two."""
        return random.uniform(low, high)  # noqa: S311  (jitter, not a secret)

    def wait(self, seconds: float) -> None:
        """Wait, or raise the `stopped` error as soon as the run is asked to stop."""
        if seconds > 0:
            self.stop.wait(seconds)
        self.check()

    def check(self) -> None:
        """Raise the `stopped` error when the run was asked to stop."""
        if self.stop.is_set():
            raise error("stopped")

    def backoff(self, attempt: int, *, base: float = 0.5, ceiling: float = 60.0) -> float:
        """Seconds to wait before attempt number `attempt` (1 is the first retry): full jitter.

        Full jitter (uniform from 0 to the exponential ceiling) spreads a crowd of workers best:
        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        return self.uniform(0.0, min(ceiling, base * 2.0**attempt))


def bounded(call: Callable[[], T], pace: Pace, seconds: float) -> T:
    """Wait for a blocking call, but not beyond a moment, nor once the run is asked to stop.

    No timeout of a socket covers a name server that hangs or a server that drips. The thread is a daemon: it may be
    left behind, and ends at its socket's timeout or with the process.

    Raises:
        TimeoutError: It takes longer.
        DownloadError: `stopped`.
    """
    future: Future[T] = Future()
    until = pace.monotonic() + seconds
    threading.Thread(target=_settle, args=(future, call), name="bounded", daemon=True).start()
    while not wait([future], timeout=_LOOK_SECONDS).done:
        pace.check()
        if pace.monotonic() > until:
            raise TimeoutError
    return future.result()


def _settle(future: Future[T], call: Callable[[], T]) -> None:
    try:
        future.set_result(call())
    except BaseException as failure:  # noqa: BLE001  (not handled here: raised again in the thread that waits)
        future.set_exception(failure)


class Disk:
    """The file system calls that proofs rest on; tests let them fail, or kill the process, at any of them."""

    def write(self, fd: int, data: bytes | memoryview) -> None:
        """Write all of `data`: a short write (a disk that fills up) is carried on until it fails."""
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    def fsync(self, fd: int) -> None:
        """Make a file's bytes, or a directory's names, survive a power cut."""
        os.fsync(fd)

    def mkdir(self, name: str, dir_fd: int) -> None:
        """Make a directory inside an open one."""
        os.mkdir(name, dir_fd=dir_fd)

    def rename(self, source: str, source_fd: int, name: str, dir_fd: int) -> None:
        """Give `source` in one open directory the name `name` in another one, atomically."""
        os.rename(source, name, src_dir_fd=source_fd, dst_dir_fd=dir_fd)

    def free(self, path: Path) -> int:
        """Bytes that this user may still write where `path` lies."""
        return shutil.disk_usage(path).free


def leave_imports_alone() -> None:
    """Spare the garbage collector what has been imported, once a process.

    What Prefect brings along lives as long as the process: 150,000 objects. Each time the collector looks at all of
    them it takes as long as some 700 small files do.
    """
    if not gc.get_freeze_count():
        gc.freeze()
