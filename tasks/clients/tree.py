"""The local tree: every path is walked from the root at the moment of use, and no symlink is followed.

What is ours (partials, ledger, plans, quarantine) lies under `<root>/.prefect-alyx/`, on the same file
system as the data, so that a rename is atomic.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tasks.clients.folder import Folder, is_ours, made_below_ours, patiently
from tasks.clients.seams import Disk
from tasks.clients.verdicts import error, os_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader

#: The directory of what is ours, under the root.
OURS = ".prefect-alyx"
_ROOM, _ROOM_BYTES = "room", 256 << 10
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Tree:
    """A root directory and what may be done below it."""

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        self.root = Path(root)
        self.disk = disk or Disk()

    @classmethod
    def around(cls, target: Path, disk: Disk | None = None) -> Tree:
        """The tree a single target belongs to: the nearest one above it that is ours, else its own directory."""
        for parent in target.parents:
            if is_ours(parent / OURS):
                return cls(parent, disk)
        return cls(target.parent, disk)

    @property
    def partials(self) -> Path:
        """Where partials lie."""
        return self.root / OURS / "partials"

    def prepare(self) -> None:
        """Make the root and our own directory, the latter for this user only.

        Raises:
            DownloadError: `bad-root`, `read-only` or `disk-full`; `not-ours` where a symlink or another user's
                directory stands in the place of ours.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            patiently(lambda: made_below_ours(self.partials))
        except (FileExistsError, NotADirectoryError) as failure:
            raise error("bad-root", f"{failure.filename}: {failure.strerror}.") from failure
        except OSError as failure:
            raise os_error(failure, self.root) from failure

    def keep_room(self) -> None:
        """Keep a little of the disk: when all else is full, the ledger has to say how the run ended."""
        with contextlib.suppress(OSError):  # it is kept already, or there is none left even now
            fd = Folder(self.root / OURS).create(_ROOM)
            try:
                self.disk.write(fd, bytes(_ROOM_BYTES))
            finally:
                os.close(fd)

    def make_room(self) -> bool:
        """Give back what was kept; return whether there was anything."""
        with contextlib.suppress(FileNotFoundError):
            Folder(self.root / OURS).unlink(_ROOM)
            return True
        return False

    def tidy(self) -> None:
        """Remove our own directories where they are empty: a single download leaves nothing behind."""
        with contextlib.suppress(OSError):
            self.partials.rmdir()
            (self.root / OURS).rmdir()

    @contextlib.contextmanager
    def directory(self, relative: PurePosixPath, *, create: bool = True) -> Iterator[int]:
        """Open a directory below the root, one component at a time.

        Yields:
            Its file descriptor, valid inside the `with`.

        Raises:
            DownloadError: `bad-path` when a symlink, or anything but a directory, stands on the way.
        """
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in relative.parts:
                deeper = self._enter(fd, part, relative, create=create)
                os.close(fd)
                fd = deeper
            yield fd
        finally:
            os.close(fd)

    def _enter(self, fd: int, part: str, relative: PurePosixPath, *, create: bool) -> int:
        if part in ("/", "..", "."):
            raise error("bad-path", f"{relative} leaves the root.")
        try:
            return self._step(fd, part, relative)
        except FileNotFoundError:
            if not create:
                raise
        with contextlib.suppress(FileExistsError):
            self.disk.mkdir(part, fd)
            self.disk.fsync(fd)
        return self._step(fd, part, relative)

    def _step(self, fd: int, part: str, relative: PurePosixPath) -> int:
        try:
            return os.open(part, _DIRECTORY, dir_fd=fd)
        except OSError as failure:
            if failure.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            detail = f"On the way to {self.root / relative}, {part!r} is a symlink or no directory."
            raise error("bad-path", detail) from failure

    def move(self, relative: str, target: str) -> None:
        """Rename a file below the root, atomically and durably; no symlink on either way is followed.

        Raises:
            DownloadError: `bad-path`.
            OSError: as the disk says; then the file is where it was.
        """
        source, goal = PurePosixPath(relative), PurePosixPath(target)
        with self.directory(source.parent, create=False) as old, self.directory(goal.parent) as new:
            os.rename(source.name, goal.name, src_dir_fd=old, dst_dir_fd=new)
            self.disk.fsync(new)
            self.disk.fsync(old)

    def open(self, relative: str) -> BufferedReader:
        """Open a regular file below the root for reading, without following a symlink or waiting for a pipe's writer.

        Raises:
            DownloadError: `bad-path`; `target` for what is no regular file.
        """
        path = PurePosixPath(relative)
        with self.directory(path.parent, create=False) as fd:
            file = os.fdopen(os.open(path.name, _FILE, dir_fd=fd), "rb")
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise error("target", f"{self.root / relative} is no regular file.")
        return file

    def holds(self, relative: str) -> bool:
        """Whether anything stands at a path; no more than a look: what acts on it walks there itself."""
        return os.access(f"{self.root}/{relative}", os.F_OK, follow_symlinks=False)

    def stat(self, relative: str) -> os.stat_result | None:
        """Stat a regular file below the root without following a symlink; None where there is none."""
        if not self.holds(relative):
            return None  # one look, where the walk takes a dozen: it finds nothing either
        path = PurePosixPath(relative)
        try:
            with self.directory(path.parent, create=False) as fd:
                found = os.stat(path.name, dir_fd=fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found if stat.S_ISREG(found.st_mode) else None


class Neighbours:
    """What stands beside files that are asked about in a row: one look at their folder serves all of them."""

    def __init__(self, tree: Tree) -> None:
        self._root = tree.root
        self._folder: str | None = None
        self._names: frozenset[str] = frozenset()

    def hold(self, relative: str) -> bool:
        """Whether anything stood at a path when its folder was looked at; as :meth:`Tree.holds`, no more than that."""
        folder, _, name = relative.rpartition("/")
        if folder != self._folder:
            self._folder, self._names = folder, frozenset()
            with contextlib.suppress(OSError):
                self._names = frozenset(os.listdir(f"{self._root}/{folder}"))
        return name in self._names
