"""One request that libcurl is about to send, or has sent; it is watched meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.clients.ending import conclude

if TYPE_CHECKING:
    import pycurl

    from tasks.clients.answer import Answer
    from tasks.clients.patience import Budget
    from tasks.clients.reach import Guard
    from tasks.clients.seams import Pace


class Watch:
    """Ends a transfer that is silent for too long, or that nobody wants any more.

    libcurl's own speed limit averages over some seconds, so it sees a drip, but sees a silence late.
    """

    def __init__(self, pace: Pace, seconds: float) -> None:
        self.pace = pace
        self.seconds = seconds
        self.silent = False
        self._bytes = 0
        self._since = pace.monotonic()

    def on_progress(self, _total: int, received: int, *_uploads: int) -> int:
        """Libcurl asks at least once a second, also when nothing moves; non-zero ends the transfer."""
        now = self.pace.monotonic()
        if received != self._bytes:
            self._bytes, self._since = received, now
        self.silent = now - self._since >= self.seconds
        return int(self.silent or self.pace.stop.is_set())


@dataclass(frozen=True, slots=True)
class Sending:
    """A request, what is to become of its answer, and who looks after it."""

    handle: pycurl.Curl
    answer: Answer
    budget: Budget
    watch: Watch
    guard: Guard

    def conclude(self, failure: pycurl.error | None) -> None:
        """Say how it ended; see :func:`conclude`."""
        conclude(self.handle, failure, self.answer, self.budget, silent=self.watch.silent, refused=self.guard.refused)
