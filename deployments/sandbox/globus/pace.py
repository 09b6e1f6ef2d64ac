"""How fast the engine may copy: as fast as it can, so many files and no more, or so many bytes a second."""

from __future__ import annotations

#: Bytes that are moved in one go, so that a request is answered between two goes.
PIECE = 4 << 20


class Pace:
    """The allowance of the engine.

    Attributes:
        files: How many more files may be finished; None is no limit.
        bytes_per_second: By the emulator's clock; None is no limit.
    """

    def __init__(self) -> None:
        self.files: int | None = None
        self.bytes_per_second: float | None = None
        self._budget = 0.0
        self._filled: float | None = None

    @property
    def holds(self) -> bool:
        """Whether no file may be copied now."""
        return self.files == 0

    def refill(self, now: float) -> None:
        """Let the time since the last call count; the first call only starts the count."""
        if self.bytes_per_second is not None and self._filled is not None:
            self._budget += self.bytes_per_second * (now - self._filled)
        self._filled = now

    def rest(self) -> None:
        """Nothing is moving: time does not count."""
        self._filled = None
        self._budget = 0.0

    def room(self, wanted: int) -> int:
        """How many of the wanted bytes may move now."""
        limit = PIECE if self.bytes_per_second is None else min(PIECE, int(self._budget))
        return min(wanted, limit)

    def spend(self, moved: int) -> None:
        """Bytes have moved."""
        if self.bytes_per_second is not None:
            self._budget -= moved

    def finish_file(self) -> None:
        """A file has been finished."""
        if self.files is not None:
            self.files -= 1
