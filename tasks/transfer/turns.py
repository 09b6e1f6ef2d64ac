"""Whose turn it is in one process: batches that keep the interpreter busy go one after the other.

Two threads that fetch small files from a server that is near wait for each other at every step, since Python runs one
of them at a time: they take a quarter more processor time than one after the other, and no less time. A batch that
waits for its line or its disk keeps nobody waiting.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: A batch waits so long for its turn, at the most: what goes before it may have begun to wait for something itself.
PATIENCE_SECONDS = 1.0
#: Who works for less than this share of the time waits for something, and lets others work meanwhile.
BUSY = 0.3


class Turns:
    """The turns of one run in one process.

    Args:
        clock: Seconds that never run backwards.
        worked: Seconds for which the thread that asks has worked.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, worked: Callable[[], float] = time.thread_time
    ) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._worked = worked

    @contextmanager
    def taken(self) -> Iterator[Turn]:
        """Wait for a turn, but not for long, and keep it for the block or until :meth:`Turn.look` lets it go."""
        turn = Turn(self._lock, self._clock, self._worked)
        try:
            yield turn
        finally:
            turn.end()


class Turn:
    """One batch's turn; :meth:`Turns.taken` makes it.

    Attributes:
        holds: Whether it is this batch's turn; one that had to wait for too long goes on without.
    """

    def __init__(self, lock: threading.Lock, clock: Callable[[], float], worked: Callable[[], float]) -> None:
        self._lock, self._clock, self._worked = lock, clock, worked
        self.holds = lock.acquire(timeout=PATIENCE_SECONDS)
        self._looked, self._had_worked = clock(), worked()

    def look(self) -> None:
        """Let the turn go where this thread has mostly waited since the last look."""
        looked, had_worked = self._looked, self._had_worked
        self._looked, self._had_worked = self._clock(), self._worked()
        if self._had_worked - had_worked < BUSY * (self._looked - looked):
            self.end()

    def end(self) -> None:
        """Let the turn go."""
        if self.holds:
            self.holds = False
            self._lock.release()
