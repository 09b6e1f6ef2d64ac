"""Who holds a file: claims by name, told by one atomic rename on every file system.

A claimed file is named `<what>.<owner>...`; the owner is `free`, or names the process that holds it. `flock` would lie
on Lustre, GPFS and some NFS. The claim of a process that is gone is free; one of another machine is when its lease is
over.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import socket
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from tasks.clients.folder import Folder

FREE = "free"
#: What another machine has claimed is taken over when nothing was written to it for so long. Longer than the default
#: stall limit, so that a slow owner is not robbed; and over when a silent machine loses its plan (by its lease in the
#: ledger), so that who goes on with the plan goes on with its partials.
LEASE_SECONDS = 100.0
_serial = itertools.count()


def short_hash(text: str) -> str:
    """Sixteen hex characters that stand for a text in a file name."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@functools.cache
def machine() -> str:
    """This machine and PID namespace: two containers with one host name are two machines."""
    namespace = ""
    with contextlib.suppress(OSError):
        namespace = str(os.stat("/proc/self/ns/pid").st_ino)
    return short_hash(f"{socket.gethostname()} {psutil.boot_time():.0f} {namespace}")


def owner() -> str:
    """A name for one claim: machine, process, the process's start, and a serial number."""
    return f"{_process(os.getpid())}-{next(_serial)}"


@functools.cache
def _process(pid: int) -> str:
    return f"{machine()}-{pid}-{psutil.Process(pid).create_time():.2f}".replace(".", "_")


def is_free(folder: Folder, name: str) -> bool:
    """Whether nobody alive holds a file; own claims are held."""
    host = host_of(name)
    if host == FREE:
        return True
    return is_gone(name.split(".")[1]) if host == machine() else _lease_is_over(folder, name)


def is_gone(who: str) -> bool:
    """Whether an owner was a process of this machine that has ended; of another machine nobody here can tell."""
    host, pid, born, _ = who.split("-")
    if host != machine() or who.startswith(f"{_process(os.getpid())}-"):
        return False
    return not _alive(int(pid), float(born.replace("_", ".")))


def _lease_is_over(folder: Folder, name: str) -> bool:
    """Compare with a file written now, so that the file server's clock is asked and not ours."""
    probe = f".clock-{owner()}"
    try:
        os.close(folder.create(probe))
        return folder.stat(probe).st_mtime - folder.stat(name).st_mtime > LEASE_SECONDS
    except FileNotFoundError:
        return False
    finally:
        with contextlib.suppress(FileNotFoundError):
            folder.unlink(probe)


def host_of(name: str) -> str:
    """The machine in a claimed file's name, or `free`."""
    return name.split(".")[1].partition("-")[0]


def _alive(pid: int, born: float) -> bool:
    """Whether the process that made a claim still runs; a reused PID has another start.

    A zombie runs no more: its parent has not asked for it yet, and the first process of a container may never do so.
    """
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - born) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
