"""One claimed partial: its file, its digest so far, and what waits beside it for its turn."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.clients.owners import FREE, short_hash
from tasks.clients.pieces import Pieces
from tasks.clients.proof import HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tasks.clients.digest import Digest
    from tasks.clients.folder import Folder
    from tasks.clients.proof import Expected
    from tasks.clients.seams import Disk

SUFFIX = ".part"
_READ = 1 << 20


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
    _pieces: Pieces | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._hash = self._hash or self.expected.hasher()

    @property
    def pieces(self) -> Pieces:
        """What came before its turn; nothing for most."""
        if self._pieces is None:
            self._pieces = Pieces(self.folder, self.disk)
        return self._pieces

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
        return None if self.expected.size is None else self.expected.size - self.held

    @property
    def held(self) -> int:
        """Bytes on disk: the prefix, and what waits for its turn."""
        return self.size + self.pieces.bytes

    @property
    def lags(self) -> bool:
        """Whether the digest is behind, so that writing has to wait for it."""
        return self._hash is not None and self._hash.lags

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
            self.expected = self.expected._replace(digest=digest)
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

    def absorb(self) -> bool:
        """Append what is next in line, one block of a piece; return whether there was any."""
        piece = self.pieces.next(self.size)
        if piece:
            self.write(piece.read(self.size))
            self.pieces.next(self.size)
        return piece is not None

    def _forget_the_half(self) -> None:
        """Of a write that failed some bytes may lie there; the next one must not come after them."""
        os.lseek(self.fd, self.size, os.SEEK_SET)
        os.ftruncate(self.fd, self.size)

    def rewind(self) -> None:
        """Throw all bytes away and begin again."""
        if self.size:
            os.ftruncate(self.fd, 0)
            os.lseek(self.fd, 0, os.SEEK_SET)
            self.size, self.head, self._hash = 0, b"", self.expected.hasher()
        self.pieces.discard()
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
        self.close()
        what = self.name.partition(".")[0]
        mark = self.name.removesuffix(SUFFIX).rpartition(".")[2]
        free = f"{what}.{FREE}.{mark}{SUFFIX}"
        self.pieces.release(free)
        with contextlib.suppress(OSError):
            if self.folder.size(self.name) > max(0, self.folder.size(free)):
                self.folder.rename(self.name, free)
            else:
                self.folder.unlink(self.name)

    def discard(self) -> None:
        """Remove the partial."""
        self.close()
        self.pieces.discard()
        with contextlib.suppress(OSError):
            self.folder.unlink(self.name)

    def close(self) -> None:
        """Close the file; the claim stays."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
