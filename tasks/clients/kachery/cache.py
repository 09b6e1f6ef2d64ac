"""The official clients' own files on this machine: `<directory>/sha1/ab/cd/ef/<hash>`, and links to other files.

Those clients never look whether the bytes are right, so what is found here counts only after it was hashed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasks.clients.seams import Pace

_log = logging.getLogger(__name__)
_BLOCK = 1 << 20


class KacheryCache:
    """Files by SHA-1.

    Args:
        places: Directories to look into; the first one is filled.
        pace: Stop signal.
    """

    def __init__(self, places: Sequence[Path], pace: Pace) -> None:
        self._places = places
        self._pace = pace

    def open(self, sha1: str) -> BinaryIO | None:
        """Open a file whose bytes have this SHA-1, at its beginning; None where there is none that can be read."""
        for path in self._candidates(sha1):
            with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
                file = stack.enter_context(path.open("rb"))
                if self._sha1(file) == sha1:
                    file.seek(0)
                    stack.pop_all()
                    return file
        return None

    def add(self, sha1: str, source: Path) -> None:
        """Keep a copy of a file, in place of a wrong one; nothing is kept, and no error raised, where that fails."""
        target = _place(self._places[0], "sha1", sha1)
        temporary = target.with_name(f"{sha1}.tmp.{uuid4().hex[:8]}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as file, temporary.open("xb") as copy:
                whole = self._sha1(file, copy) == sha1
                os.fsync(copy.fileno())
            if whole:
                temporary.replace(target)
        except OSError as failure:
            _log.warning("kachery's cache is not filled: %s", failure)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def blocks(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield what is left of a file; a stop of the run is raised in between."""
        while block := file.read(_BLOCK):
            self._pace.check()
            yield block

    def _sha1(self, file: BinaryIO, copy: BinaryIO | None = None) -> str:
        """Hash what is left of a file, copying it where there is a copy."""
        hasher = hashlib.sha1(usedforsecurity=False)
        for block in self.blocks(file):
            hasher.update(block)
            if copy:
                copy.write(block)
        return hasher.hexdigest()

    def _candidates(self, sha1: str) -> Iterator[Path]:
        """Regular files that may have the bytes: stored ones, then those that a link names."""
        stored = (_place(place, "sha1", sha1) for place in self._places)
        linked = (_linked(_place(place, "linked_files/sha1", sha1)) for place in self._places)
        return (path for path in chain(stored, linked) if path and _is_file(path))


def _place(directory: Path, kind: str, sha1: str) -> Path:
    return directory / kind / sha1[0:2] / sha1[2:4] / sha1[4:6] / sha1


def _linked(record: Path) -> Path | None:
    """The file that a link names (`{"path", "size", "mtime", "sha1"}`); None where there is none, or a broken one."""
    try:
        return Path(json.loads(record.read_bytes())["path"]) if _is_file(record) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _is_file(path: Path) -> bool:
    """Whether this is a file that we are allowed to see: a shared cache may belong to somebody else."""
    try:
        return path.is_file()
    except OSError:
        return False
