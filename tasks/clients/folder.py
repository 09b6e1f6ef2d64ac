"""A directory of ours, held open: what is done in it is done there, wherever its path leads meanwhile.

A root may be one that others write to. They can rename what is ours and plant a symlink in its place between any two
steps of ours; an open descriptor is not fooled by that, a path is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import weakref
from typing import TYPE_CHECKING, TypeVar

from tasks.clients.verdicts import error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: Root may use what belongs to others: in a container it works for the owner of the tree.
_ROOT = 0
_PRIVATE = 0o700
#: What the umask takes from is for everybody to read and write: data is nobody's secret, and no program.
_FILE = 0o666
_TRIES = 5

T = TypeVar("T")


class Folder:
    """An open directory, and what is done with the names in it; no symlink is ever followed.

    Args:
        path: Where it lies; neither its last part nor the one before may be a symlink.

    Raises:
        DownloadError: `not-ours`: a symlink stands there, or the directory belongs to another user.
        OSError: it is not there, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        above = _open_ours(path.parent)
        try:
            self.fd = _open_ours(path, above)
        finally:
            os.close(above)
        weakref.finalize(self, os.close, self.fd)

    def names(self) -> list[str]:
        """All names in it."""
        # Opened anew: threads that list through one descriptor share its place in the list, and each misses names.
        fd = os.open(".", _DIRECTORY, dir_fd=self.fd)
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def open(self, name: str, flags: int, mode: int = _FILE) -> int:
        """Open a regular file of it; nothing else is waited for, or read."""
        fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode, dir_fd=self.fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise error("not-ours", f"{self.path / name} is no regular file.")
        return fd

    def create(self, name: str) -> int:
        """Make a file that was not there, and open it; raises FileExistsError where anything stands at the name."""
        return os.open(name, _NEW, _FILE, dir_fd=self.fd)

    def stat(self, name: str) -> os.stat_result:
        """Stat a name in it."""
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    def size(self, name: str) -> int:
        """Bytes of a file; -1 where there is none."""
        try:
            return self.stat(name).st_size
        except FileNotFoundError:
            return -1

    def rename(self, old: str, new: str) -> None:
        """Rename within it."""
        os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def unlink(self, name: str) -> None:
        """Remove a file of it."""
        os.unlink(name, dir_fd=self.fd)


def make_private(above: int, name: str, path: Path) -> None:
    """Make a directory of ours inside an open one, for this user only whatever the umask, or take the one there.

    Raises:
        DownloadError: `not-ours`.
        OSError: it cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, _PRIVATE, dir_fd=above)
    fd = _open_ours(path, above)
    try:
        if stat.S_IMODE(os.fstat(fd).st_mode) != _PRIVATE:
            with contextlib.suppress(OSError):  # a file system that knows no modes
                os.fchmod(fd, _PRIVATE)
    finally:
        os.close(fd)


def patiently(work: Callable[[], T]) -> T:
    """Do some work in a directory of ours again, when a single download that ended has tidied it away meanwhile.

    Raises:
        OSError: as the system says; `FileNotFoundError` after some tries.
    """
    for _ in range(_TRIES):
        with contextlib.suppress(FileNotFoundError):
            return work()
    return work()


def made_below_ours(path: Path) -> Folder:
    """Make a directory in what is ours under a root, which is made, too, and open it.

    Raises:
        DownloadError: `not-ours`.
        OSError: it cannot be made; `FileNotFoundError` where a single download ends now and tidies up.
    """
    ours = path.parent
    root = os.open(ours.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        make_private(root, ours.name, ours)
        above = _open_ours(ours, root)
    finally:
        os.close(root)
    try:
        make_private(above, path.name, path)
    finally:
        os.close(above)
    return Folder(path)


def is_ours(path: Path) -> bool:
    """Whether a directory stands there that this user made; nobody else's is trusted with bytes on their way."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and _belongs_to_us(found)


def _open_ours(path: Path, above: int | None = None) -> int:
    try:
        fd = os.open(path if above is None else path.name, _DIRECTORY, dir_fd=above)
    except OSError as failure:
        if failure.errno in (errno.ELOOP, errno.ENOTDIR):
            raise error("not-ours", f"{path} is a symlink or no directory.") from failure
        raise
    found = os.fstat(fd)
    if not _belongs_to_us(found):
        os.close(fd)
        raise error("not-ours", f"{path} belongs to the user with the number {found.st_uid}.")
    return fd


def _belongs_to_us(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() or os.geteuid() == _ROOT
