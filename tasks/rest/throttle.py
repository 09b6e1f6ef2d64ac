"""The throttle that all workers of a machine share, so that together they stay under Alyx's limit.

Several machines share one through whoever counts for all of them, which is Prefect: see `tasks.transfer.limits`.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tasks.rest import shared_state
from tasks.rest.shared_state import SharedState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tasks.clients.seams import Pace

#: A little longer than the minute in which Alyx counts: requests do not arrive as evenly as they leave.
WINDOW_SECONDS = 61.0
#: Alyx's own default is 550; the rest is left to the user's browser.
PER_MINUTE = 540
#: Asks whoever counts for several machines whether a request may go; unset where nobody does.
BEYOND: ContextVar[Callable[[], None]] = ContextVar("BEYOND")
#: Reservations further ahead than this come from a clock that was set back.
_FARTHEST_SECONDS = 900.0


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
        self._state = SharedState(path, "Requests to Alyx are")
        self._limit = per_minute
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
        if ask := BEYOND.get(None):
            ask()

    def close(self, seconds: float) -> None:
        """Let nobody through for so long: Alyx asked for it."""
        with self._opened() as book:
            book.closed_until = max(book.closed_until, self._pace.now() + seconds)

    @contextmanager
    def _opened(self) -> Iterator[_Book]:
        """The book, read from the shared file and written back, while no other thread or process has it."""
        with self._state.held():
            self._book = _read(self._state.read()) or self._book
            yield self._book
            self._state.write(asdict(self._book))


def shared_file(url: str, user: str) -> Path | None:
    """Return this machine's file for an Alyx user, who is what Alyx counts by; None where no private place is found."""
    key = hashlib.sha256(f"{url} {user}".encode()).hexdigest()[:16]
    return shared_state.shared_file(f"alyx-{key}.json")


def _read(found: Any) -> _Book | None:
    try:
        return _Book([float(at) for at in found["granted"]], float(found["closed_until"]))
    except (ValueError, TypeError, KeyError):
        return None
