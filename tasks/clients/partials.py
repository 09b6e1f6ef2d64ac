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
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tasks.clients.folder import Folder, made_below_ours, patiently
from tasks.clients.owners import FREE, host_of, is_free, machine, owner, short_hash
from tasks.clients.proof import HEAD_BYTES, Expected
from tasks.clients.verdicts import DownloadError, os_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tasks.clients.digest import Digest
    from tasks.clients.seams import Disk, Pace

SUFFIX = ".part"
_READ = 1 << 20
#: What a partial gives back after the disk refused more: the ledger lies there too, and has to say how the run ended.
_ROOM = 256 << 10
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def identity(expected: Expected, address: str) -> str:
    """Name the content: by digest and size where Alyx has a digest, else by the address it comes from."""
    size = "x" if expected.size is None else str(expected.size)
    what = f"{expected.algorithm}-{expected.digest}" if expected.digest else f"from-{short_hash(address)}"
    return f"{what}-{size}"


@dataclass(slots=True)
class Partial:
    """A claimed partial: its file, how much of it there is, and the running digest of exactly that much.

    Attributes:
        folder: Where it lies.
        name: Its name there.
        validator: Short hash of the ETag or Last-Modified that the bytes came with; "" where unknown.
        source: Address that the bytes came from in this process.
        if_range: The validator as `If-Range` may carry it; "" where there is no strong one.
        wrong: Digests of whole files that were thrown away.
    """

    folder: Folder
    name: str
    expected: Expected
    disk: Disk
    fd: int
    size: int = 0
    head: bytes = b""
    validator: str = ""
    source: str = ""
    if_range: str = ""
    wrong: list[str] = field(default_factory=list)
    _hash: Digest | None = field(default=None, repr=False)
    _refused: bool = False

    def __post_init__(self) -> None:
        self._hash = self._hash or self.expected.hasher()

    @property
    def path(self) -> Path:
        """Where it lies, for people; what is done with it is done in its open folder."""
        return self.folder.path / self.name

    @property
    def digest(self) -> str:
        """Hex digest of all bytes so far; "" where there is nothing to compare with."""
        return self._hash.hexdigest() if self._hash else ""

    @property
    def missing(self) -> int | None:
        """Bytes that are still to come; None where the size is not known."""
        return None if self.expected.size is None else self.expected.size - self.size

    def rehash(self, check: Callable[[], None]) -> None:
        """Read what is already there: a prefix counts only when this process has hashed it itself.

        Args:
            check: Called for each block; raises when the run is to stop.
        """
        os.lseek(self.fd, 0, os.SEEK_SET)
        while block := os.read(self.fd, _READ):
            check()
            self._account(block)

    def _account(self, data: bytes) -> None:
        if self.size < HEAD_BYTES:
            self.head += data[: HEAD_BYTES - self.size]
        if self._hash:
            self._hash.update(data)
        self.size += len(data)

    def expect(self, digest: str, check: Callable[[], None]) -> None:
        """Take a digest that an address holds for what proves the bytes, where Alyx registers none.

        Args:
            digest: md5 or sha1.
            check: As for :meth:`rehash`.
        """
        if not self.expected.digest:
            self.expected = replace(self.expected, digest=digest)
            self.size, self.head, self._hash = 0, b"", self.expected.hasher()
            self.rehash(check)

    def write(self, data: bytes) -> None:
        """Append bytes; raises OSError as the disk does, and then what was written before still counts."""
        try:
            self.disk.write(self.fd, data)
        except OSError:
            self._forget_the_half()
            raise
        self._account(data)

    def _forget_the_half(self) -> None:
        """Of a write that failed some bytes may lie there; the next one must not come after them."""
        self._refused = True
        os.lseek(self.fd, self.size, os.SEEK_SET)
        os.ftruncate(self.fd, self.size)

    def rewind(self) -> None:
        """Throw all bytes away and begin again."""
        if self.size:
            os.ftruncate(self.fd, 0)
            os.lseek(self.fd, 0, os.SEEK_SET)
            self.size, self.head, self._hash = 0, b"", self.expected.hasher()
        self.validator = self.source = self.if_range = ""

    def reject(self) -> bool:
        """Throw away a whole file that is not the right one; return whether the same one came before."""
        came_before = bool(self.digest) and self.digest in self.wrong
        self.wrong.append(self.digest)
        self.rewind()
        return came_before

    def remember(self, validator: str) -> None:
        """Keep which version of the object these bytes come from, on disk too where no digest could tell."""
        mark = short_hash(validator) if validator else ""
        if mark != self.validator and not self.expected.digest:
            stem, _, _ = self.name.removesuffix(SUFFIX).rpartition(".")
            renamed = f"{stem}.{mark}{SUFFIX}"
            self.folder.rename(self.name, renamed)
            self.name = renamed
        self.validator = mark

    def prove(self, name: str) -> None:
        """Check size, digest or content; see :meth:`Expected.check`."""
        self.expected.check(self.size, self.digest, self.head, name)

    def release(self) -> None:
        """Give the partial back, for whoever continues it; one that is empty, or shorter than what is free, is removed.

        Where the disk does not let it (read-only, failing), it becomes free when this process ends.
        """
        if self._refused:
            with contextlib.suppress(OSError):
                os.ftruncate(self.fd, max(0, self.size - _ROOM))
        self.close()
        what = self.name.partition(".")[0]
        mark = self.name.removesuffix(SUFFIX).rpartition(".")[2]
        free = f"{what}.{FREE}.{mark}{SUFFIX}"
        with contextlib.suppress(OSError):
            if self.folder.size(self.name) > max(0, self.folder.size(free)):
                self.folder.rename(self.name, free)
            else:
                self.folder.unlink(self.name)

    def discard(self) -> None:
        """Remove the partial."""
        self.close()
        with contextlib.suppress(OSError):
            self.folder.unlink(self.name)

    def close(self) -> None:
        """Close the file; the claim stays."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


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
        mine = f"{what}.{owner()}"
        try:
            for name in self._free(f"{what}."):
                if taken := self._take(name, mine):
                    return self._continue(self._open(taken, expected, os.O_RDWR))
            return self._open(f"{mine}.{SUFFIX}", expected, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except OSError as failure:
            raise os_error(failure, self.directory) from failure

    def has(self, expected: Expected, address: str) -> bool:
        """Whether something of this content is there that nobody holds."""
        return bool(self._free(f"{identity(expected, address)}."))

    def adopt(self, staged: Path, expected: Expected, address: str) -> Partial:
        """Claim a file that a service has put beside the partials; raises as :meth:`claim` does."""
        mine = f"{identity(expected, address)}.{owner()}.{SUFFIX}"
        try:
            self._move_in(staged, mine)
            return self._continue(self._open(mine, expected, os.O_RDWR))
        except OSError as failure:
            raise os_error(failure, staged) from failure

    def _move_in(self, staged: Path, mine: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # a single download that ended has tidied the folder away
            return os.rename(staged, mine, dst_dir_fd=self.folder.fd)
        return patiently(lambda: self._move_in_anew(staged, mine))

    def _move_in_anew(self, staged: Path, mine: str) -> None:
        self.folder = made_below_ours(self.directory)
        os.rename(staged, mine, dst_dir_fd=self.folder.fd)

    def _open(self, name: str, expected: Expected, flags: int) -> Partial:
        fd = self.folder.open(name, flags)
        validator = name.removesuffix(SUFFIX).rpartition(".")[2]
        return Partial(self.folder, name, expected, self.disk, fd, validator=validator)

    def _continue(self, partial: Partial) -> Partial:
        try:
            partial.rehash(self.pace.check)
        except DownloadError:
            partial.release()
            raise
        return partial

    def _free(self, start: str) -> list[str]:
        names = [name for name in self._names() if name.startswith(start) and is_free(self.folder, name)]
        return sorted(names, key=self.folder.size, reverse=True)

    def _names(self) -> list[str]:
        return [name for name in self.folder.names() if name.endswith(SUFFIX)]

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
        source, target = self.folder.open(name, os.O_RDONLY), self.folder.open(copy, _NEW)
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
        for largest in self._free("")[:1]:
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
