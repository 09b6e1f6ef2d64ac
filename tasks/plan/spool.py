"""Lines of JSON in the making: in memory while they are few, in a nameless temporary file beyond."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson

from tasks.clients.verdicts import os_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.model import Json, Skip

_IN_MEMORY = 1 << 20


class Spool:
    """Lines that are appended, and read at any place."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  (it lives as long as its plan)
        self._is_at_end = True
        self.size = 0

    def put(self, row: bytes) -> int:
        """Append a row, and return where it begins.

        Raises:
            DownloadError: `disk-full` and the like, for the folder of temporary files.
        """
        try:
            if not self._is_at_end:  # a needless seek would flush the buffer
                self._file.seek(self.size)
                self._is_at_end = True
            self._file.write(row)
        except OSError as failure:
            raise os_error(failure, tempfile.gettempdir()) from failure
        self.size += len(row)
        return self.size - len(row)

    def read(self, offset: int, length: int) -> bytes:
        """Return some bytes."""
        self._is_at_end = False
        self._file.seek(offset)
        return self._file.read(length)

    def name(self, root: str) -> str:
        """Name the content, together with where it goes."""
        digest = hashlib.sha256()
        for offset in range(0, self.size, _IN_MEMORY):
            digest.update(self.read(offset, _IN_MEMORY))
        digest.update(os.fsencode(root))
        return digest.hexdigest()[:16]


def line(row: Json | Skip | Sequence[object]) -> bytes:
    """Return a row as one line; halves of characters, which are no text, are kept as escapes."""
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        return json.dumps(row, separators=(",", ":"), default=asdict).encode() + b"\n"


def parsed(row: bytes) -> Any:
    """Return what a line holds; the inverse of :func:`line`.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return orjson.loads(row)
    except orjson.JSONDecodeError:
        return json.loads(row)  # it may hold halves of characters
