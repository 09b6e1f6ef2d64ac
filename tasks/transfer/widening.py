"""How many requests are under way at a time: few at a near server, as many as are allowed at a far one."""

from __future__ import annotations

from tasks.transfer.crew import FIRST_THREADS, IDLE_SECONDS

#: A server from which nothing comes for so long is far, or slow: nothing that it sends will keep a thread busy.
FAR_SECONDS = 3 * IDLE_SECONDS
#: Another request at a time for each so many files: a process that is killed loses what is under way, which is to be
#: little of what it brought.
_WIDEN_FILES = 64


class Width:
    """How many requests a server is worth at a time.

    Args:
        limit: How many there may be.
        came: Files that came before, to this process.

    Attributes:
        wanted: How many its distance is worth, as far as that is known.
        came: Files that came.
        is_far: Whether it was found to be far.
    """

    def __init__(self, limit: int, came: int) -> None:
        self.wanted = FIRST_THREADS
        self.came = came
        self.is_far = False
        self._limit = limit
        self._idle_seconds = 0.0

    @property
    def now(self) -> int:
        """How many requests are to be under way."""
        return min(self._limit, self.wanted + self.came // _WIDEN_FILES)

    @property
    def may_grow(self) -> bool:
        """Whether it is of use to know soon that nothing comes."""
        return self.now < self._limit

    def waited(self, seconds: float, *, in_vain: bool) -> None:
        """Note a wait: a moment without anything doubles what is under way; a server that lets wait longer is far."""
        before, self._idle_seconds = self._idle_seconds, self._idle_seconds + seconds if in_vain else 0.0
        if before < IDLE_SECONDS <= self._idle_seconds:
            self.wanted *= 2
        if self._idle_seconds >= FAR_SECONDS:
            self.wanted, self.is_far = max(self.wanted, self._limit), True
