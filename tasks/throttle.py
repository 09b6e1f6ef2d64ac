"""The throttle that all workers of a machine share, so that together they stay under Alyx's limit."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import threading
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from tasks.clients.seams import Pace

#: A little longer than the minute in which Alyx counts: requests do not arrive as evenly as they leave.
WINDOW_SECONDS = 61.0
#: Alyx's own default is 550; the rest is left to the user's browser.
PER_MINUTE = 540
#: Reservations further ahead than this come from a clock that was set back.
_FARTHEST_SECONDS = 900.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Book:
    """When requests were or will be let through, oldest first, and until when nobody is."""

    granted: list[float] = field(default_factory=list)
    closed_until: float = 0.0

    def reserve(self, now: float, limit: int) -> float:
        recent = [at for at in self.granted if now - WINDOW_SECONDS < at < now + _FARTHEST_SECONDS]
        slot = max(now, min(self.closed_until, now + _FARTHEST_SECONDS))
        if len(recent) >= limit:
            slot = max(slot, recent[-limit] + WINDOW_SECONDS)
        self.granted = [*recent, slot]
        return slot


class Throttle:
    """Lets at most `per_minute` requests through in any minute, counted over every process that uses the same file.

    Each caller books the next free moment and waits for it alone, so nobody polls and nobody is overtaken. Where the
    file cannot be used, the process counts for itself and says so once.

    Args:
        pace: Clock and stop signal.
        path: The shared file; None counts within this object only.
    """

    def __init__(self, pace: Pace, path: Path | None = None, per_minute: int = PER_MINUTE) -> None:
        self._pace = pace
        self._path = path
        self._limit = per_minute
        self._lock = threading.Lock()
        self._book = _Book()

    def take(self) -> None:
        """Wait until one more request may go.

        Raises:
            DownloadError: `stopped`.
        """
        with self._opened() as book:
            now = self._pace.now()
            seconds = book.reserve(now, self._limit) - now
        if seconds > 0:
            self._pace.wait(seconds)

    def close(self, seconds: float) -> None:
        """Let nobody through for so long: Alyx asked for it."""
        with self._opened() as book:
            book.closed_until = max(book.closed_until, self._pace.now() + seconds)

    @contextmanager
    def _opened(self) -> Iterator[_Book]:
        """The book, read from the shared file and written back, while no other thread or process has it."""
        with self._lock, self._exclusive():
            if self._path:
                self._book = _read(self._path) or self._book
            yield self._book
            if self._path:
                _write(self._path, self._book)

    def _exclusive(self) -> AbstractContextManager[object]:
        if self._path is None:
            return nullcontext()
        try:
            return FileLock(f"{self._path}.lock").acquire(timeout=5)
        except (OSError, Timeout) as failure:
            _log.warning("Requests to Alyx are counted in this process only: %s", failure)
            self._path = None
            return nullcontext()


def shared_file(url: str, user: str) -> Path | None:
    """Return this machine's file for an Alyx user, who is what Alyx counts by; None where no private place is found."""
    owner = os.getuid()
    directory = Path(tempfile.gettempdir()) / f"prefect-alyx-{owner}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        private = not directory.is_symlink() and directory.stat().st_uid == owner
    except OSError:
        return None
    key = hashlib.sha256(f"{url} {user}".encode()).hexdigest()[:16]
    return directory / f"alyx-{key}.json" if private else None


def _read(path: Path) -> _Book | None:
    try:
        found = json.loads(path.read_text())
        return _Book([float(at) for at in found["granted"]], float(found["closed_until"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(path: Path, book: _Book) -> None:
    with suppress(OSError):  # a full /tmp: the book in memory still counts
        path.write_text(json.dumps(asdict(book)))
