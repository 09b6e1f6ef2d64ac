"""Pieces: bytes that came before their turn, each run of them in a file of its own beside the partial.

A partial is a prefix and nothing else, so that whoever finds one can continue it. Ranges that arrive before their
turn wait in pieces until the prefix reaches them, and are then appended to it. A piece has its partial's name, and
where it begins: `<identity>.<owner>.<validator>.<first byte>.piece`; its length says how much of it there is. So
nothing is mistaken for something else, and nothing is lost, at whatever moment a process ends.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.clients.folder import Folder
    from tasks.clients.seams import Disk

SUFFIX = ".piece"
#: How much is appended to the prefix at once: few calls, and connections are not left waiting.
_BLOCK = 1 << 20


class Span(NamedTuple):
    """Bytes from `start` up to and without `stop`."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many bytes."""
        return self.stop - self.start


@dataclass(slots=True, eq=False)
class Piece:
    """Bytes from `start` on, as many as the file is long."""

    folder: Folder
    name: str
    start: int
    disk: Disk
    size: int = 0
    _fd: int = -1

    @property
    def span(self) -> Span:
        """Which bytes of the whole file it holds."""
        return Span(self.start, self.start + self.size)

    def write(self, data: bytes) -> None:
        """Append bytes; raises OSError as the disk does, and then what was written before still counts."""
        if self._fd < 0:
            self._fd = self.folder.create(self.name)
        try:
            self.disk.write(self._fd, data)
        except OSError:
            os.lseek(self._fd, self.size, os.SEEK_SET)
            os.ftruncate(self._fd, self.size)
            raise
        self.size += len(data)

    def read(self, at: int) -> bytes:
        """Bytes from `at` on, as a place in the whole file: one block."""
        fd = self.folder.open(self.name, os.O_RDONLY)
        try:
            return os.pread(fd, min(_BLOCK, self.span.stop - at), at - self.start)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Conclude the writing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Pieces:
    """The pieces of one claimed partial, in the order of their places."""

    def __init__(self, folder: Folder, disk: Disk) -> None:
        self._folder = folder
        self._disk = disk
        self._all: list[Piece] = []

    def __bool__(self) -> bool:
        return bool(self._all)

    def __contains__(self, piece: Piece) -> bool:
        return piece in self._all

    @property
    def bytes(self) -> int:
        """Bytes that lie in pieces."""
        return sum(piece.size for piece in self._all)

    def spans(self) -> list[Span]:
        """Which bytes they hold."""
        return [piece.span for piece in self._all]

    def begin(self, beside: str, start: int) -> Piece:
        """Begin a piece beside the partial of this name; its file is made with its first bytes."""
        stem, _, _ = beside.rpartition(".")
        piece = Piece(self._folder, f"{stem}.{start}{SUFFIX}", start, self._disk)
        self._all.append(piece)
        self._all.sort(key=lambda one: one.start)
        return piece

    def take(self, beside: str, theirs: Iterable[str]) -> None:
        """Make pieces one's own that nobody is writing, by atomic rename, as partials are claimed."""
        for name in theirs:
            with contextlib.suppress(OSError):  # another process was faster; what cannot be taken is fetched again
                self._take(beside, name)

    def next(self, at: int) -> Piece | None:
        """The piece that holds the byte at this place; those that end before it are removed."""
        for piece in [piece for piece in self._all if piece.size and piece.span.stop <= at]:
            self._drop(piece)
        return next((piece for piece in self._all if piece.start <= at < piece.span.stop), None)

    def release(self, free: str) -> None:
        """Give the pieces back under a partial's free name; one that is shorter than what is free there is removed."""
        stem, _, _ = free.rpartition(".")
        for piece in self._all:
            piece.close()
            target = f"{stem}.{piece.start}{SUFFIX}"
            with contextlib.suppress(OSError):
                if piece.size > max(0, self._folder.size(target)):
                    self._folder.rename(piece.name, target)
                else:
                    self._folder.unlink(piece.name)
        self._all = []

    def discard(self) -> None:
        """Remove all pieces."""
        for piece in list(self._all):
            self._drop(piece)

    def _take(self, beside: str, name: str) -> None:
        start, size = first_byte(name), self._folder.size(name)
        if size <= 0 or any(piece.start == start for piece in self._all):
            self._folder.unlink(name)
            return
        mine = self.begin(beside, start)
        try:
            self._folder.rename(name, mine.name)
        except OSError:
            self._all.remove(mine)
            raise
        mine.size = size

    def _drop(self, piece: Piece) -> None:
        self._all.remove(piece)
        piece.close()
        with contextlib.suppress(FileNotFoundError):
            self._folder.unlink(piece.name)


def first_byte(name: str) -> int:
    """Where a piece begins, by its name."""
    return int(name.removesuffix(SUFFIX).rpartition(".")[2])


def gap(total: int, taken: Iterable[Span]) -> Span | None:
    """The first run of bytes, of so many in all, that none of the spans covers."""
    at = 0
    for span in sorted(taken):
        if span.start > at:
            break
        at = max(at, span.stop)
    else:
        return Span(at, total) if at < total else None
    return Span(at, span.start)
