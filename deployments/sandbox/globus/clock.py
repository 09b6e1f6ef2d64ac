"""The emulator's clock: it runs like any other, jumps when told, and can stand still."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """Seconds since the epoch, under the control of whoever tests."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._frozen: float | None = None

    @property
    def runs(self) -> bool:
        """Whether time passes by itself."""
        return self._frozen is None

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self._offset if self._frozen is None else self._frozen

    def advance(self, seconds: float) -> None:
        """Jump ahead."""
        if self._frozen is None:
            self._offset += seconds
        else:
            self._frozen += seconds

    def freeze(self) -> None:
        """Stand still from now on; only :meth:`advance` moves time then."""
        self._frozen = self.now()


def iso(seconds: float) -> str:
    """The form of task documents, `2021-09-02T18:04:49+00:00`."""
    return datetime.fromtimestamp(int(seconds), tz=UTC).isoformat()


def from_iso(text: str) -> float:
    """Read a deadline as the SDK sends it, with a blank or a T; a time without a zone is UTC."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
