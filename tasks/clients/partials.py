"""Partials: bytes of a dataset that are not proven yet, named by content and claimed by rename.

A partial's name is `<identity>.<owner>.<validator>.part`. The identity is the digest and the size, so that any source
can continue it; without a digest it is the address. The owner is who writes it (see `owners`). The validator (a short
hash of ETag or Last-Modified) is kept where no digest could unmask a splice.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from typing import TYPE_CHECKING

from tasks.clients import pieces
from tasks.clients.folder import Folder, made_below_ours, patiently
from tasks.clients.owners import FREE, host_of, is_free, machine, owner, short_hash
from tasks.clients.partial import SUFFIX, Partial
from tasks.clients.verdicts import DownloadError, os_error

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.clients.proof import Expected
    from tasks.clients.seams import Disk, Pace

_READ = 1 << 20


def identity(expected: Expected, address: str) -> str:
    """Name the content: by digest and size where Alyx has a digest, else by the address it comes from."""
    size = "x" if expected.size is None else str(expected.size)
    what = f"{expected.algorithm}-{expected.digest}" if expected.digest else f"from-{short_hash(address)}"
    return f"{what}-{size}"


class Partials:
    """The directory of partials of one tree."""

    def __init__(self, directory: Path, disk: Disk, pace: Pace) -> None:
        self.directory = directory
        self.disk = disk
        self.pace = pace

    @functools.cached_property
    def folder(self) -> Folder:
        """Where they lie, held open."""
        return Folder(self.directory)

    def claim(self, expected: Expected, address: str) -> Partial:
        """Take the largest partial of this content that nobody is writing, or begin a new one.

        Two workers that claim at once get a file each: bytes may be fetched twice, never written into one by two.

        Raises:
            DownloadError: `disk-full`, `read-only`, `name-too-long` or `local-io`; `not-ours`.
        """
        what = identity(expected, address)
        try:
            names = self._names(f"{what}.")
            partial = self._claim(names, f"{what}.{owner()}", expected)
        except OSError as failure:
            raise os_error(failure, self.directory, missing=expected.size) from failure
        partial.pieces.take(partial.name, self._loose_pieces(names, partial))
        return partial

    def _claim(self, names: list[str], mine: str, expected: Expected) -> Partial:
        for name in self._free(names, SUFFIX):
            if taken := self._take(name, mine):
                return self._continue(self._open(taken, expected))
        return self._partial(f"{mine}.{SUFFIX}", expected, self.folder.create(f"{mine}.{SUFFIX}"))

    def has(self, expected: Expected, address: str) -> bool:
        """Whether something of this content is there that nobody holds."""
        return bool(self._free(self._names(f"{identity(expected, address)}."), SUFFIX))

    def adopt(self, staged: Path, expected: Expected, address: str) -> Partial:
        """Claim a file that a service has put beside the partials; raises as :meth:`claim` does."""
        mine = f"{identity(expected, address)}.{owner()}.{SUFFIX}"
        try:
            self._move_in(staged, mine)
            return self._continue(self._open(mine, expected))
        except OSError as failure:
            raise os_error(failure, staged) from failure

    def _move_in(self, staged: Path, mine: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # a single download that ended has tidied the folder away
            return os.rename(staged, mine, dst_dir_fd=self.folder.fd)
        return patiently(lambda: self._move_in_anew(staged, mine))

    def _move_in_anew(self, staged: Path, mine: str) -> None:
        self.folder = made_below_ours(self.directory)
        os.rename(staged, mine, dst_dir_fd=self.folder.fd)

    def _open(self, name: str, expected: Expected) -> Partial:
        return self._partial(name, expected, self.folder.open(name, os.O_RDWR))

    def _partial(self, name: str, expected: Expected, fd: int) -> Partial:
        validator = name.removesuffix(SUFFIX).rpartition(".")[2]
        return Partial(self.folder, name, expected, self.disk, fd, validator=validator)

    def _continue(self, partial: Partial) -> Partial:
        try:
            partial.rehash(self.pace.check)
        except DownloadError:
            partial.release()
            raise
        return partial

    def _free(self, names: list[str], suffix: str) -> list[str]:
        names = [name for name in names if name.endswith(suffix) and is_free(self.folder, name)]
        return sorted(names, key=self.folder.size, reverse=True)

    def _names(self, start: str = "") -> list[str]:
        names = self.folder.names()
        return [name for name in names if name.startswith(start) and name.endswith((SUFFIX, pieces.SUFFIX))]

    def _loose_pieces(self, names: list[str], partial: Partial) -> list[str]:
        """Pieces of the same version as a partial that nobody is writing; those of another machine go with its partial.

        A piece that waits for its turn is not written to, so its own age tells nothing of its owner.
        """
        found = self._free(names, pieces.SUFFIX)
        return [name for name in found if _mark(name) == _mark(partial.name) and not self._is_held_elsewhere(name)]

    def _is_held_elsewhere(self, piece: str) -> bool:
        stem = piece.removesuffix(pieces.SUFFIX).rpartition(".")[0]
        return host_of(piece) not in (FREE, machine()) and self.folder.size(f"{stem}{SUFFIX}") >= 0

    def _take(self, name: str, mine: str) -> str:
        """Rename to a name of our own, "" for one that is gone; a lost reply of an NFS server is told by looking."""
        target = f"{mine}.{name.removesuffix(SUFFIX).rpartition('.')[2]}{SUFFIX}"
        try:
            self.folder.rename(name, target)
        except FileNotFoundError:
            return target if self.folder.size(target) >= 0 else ""
        if host_of(name) not in (FREE, machine()):
            self._detach(target)
        return target

    def _detach(self, name: str) -> None:
        """Move the bytes to a file of our own: an owner on another machine may only be slow, and still write."""
        copy = f".copy-{owner()}"
        source, target = self.folder.open(name, os.O_RDONLY), self.folder.create(copy)
        with os.fdopen(source, "rb") as old, os.fdopen(target, "wb") as new:
            shutil.copyfileobj(old, new, _READ)
        self.folder.rename(copy, name)

    def bytes(self) -> int:
        """Bytes that lie in partials now; 0 where somebody has removed the folder."""
        with contextlib.suppress(FileNotFoundError):
            return sum(max(0, self.folder.size(name)) for name in self._names())
        return 0

    def make_room(self) -> None:
        """Remove the largest free partial: where the disk is full, the ledger has to say how the run ended."""
        for largest in self._free(self._names(), SUFFIX)[:1]:
            self.folder.unlink(largest)

    def prune(self, retention_seconds: float) -> int:
        """Remove partials that nobody continued for so long; return how many."""
        removed = 0
        for name in self._names():
            with contextlib.suppress(OSError):  # another run prunes too, or nothing can be removed here
                if self.pace.now() - self.folder.stat(name).st_mtime > retention_seconds and is_free(self.folder, name):
                    self.folder.unlink(name)
                    removed += 1
        return removed


def _mark(name: str) -> str:
    """The validator in the name of a partial or of a piece."""
    return name.split(".")[2]
