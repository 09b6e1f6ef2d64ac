"""Connections to each host that are in use, and which of them a single file may have besides its own.

Every file has one connection. What others leave unused a large file may borrow, and gives back as soon as another
file begins: so a host never sees more connections than it is to see.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.clients.seams import Pace

#: What a file gives back is soon taken by the next file; only what is left unused for so long can be borrowed.
_LEFT_SECONDS = 0.2
#: How often a file that waits for what is borrowed looks whether the run is asked to stop.
_LOOK_SECONDS = 0.1


@dataclass(slots=True)
class _Host:
    files: int = 0
    borrowed: int = 0
    waiting: int = 0
    left: float = 0.0


class Lines:
    """What is in use by host; one for all clients of a process."""

    def __init__(self) -> None:
        self._hosts: defaultdict[str, _Host] = defaultdict(_Host)
        self._changed = threading.Condition()

    def enter(self, host: str, limit: int, pace: Pace) -> None:
        """Count a file's own connection; wait for one that is borrowed, where all are in use.

        Raises:
            DownloadError: `stopped`.
        """
        with self._changed:
            found = self._hosts[host]
            while found.borrowed and found.files + found.borrowed >= limit:
                self._wait(found, pace)
            found.files += 1

    def leave(self, host: str, pace: Pace) -> None:
        """Let a file's own connection go."""
        with self._changed:
            found = self._hosts[host]
            found.files -= 1
            found.left = pace.monotonic()

    def borrow(self, host: str, limit: int, pace: Pace) -> bool:
        """Take a further connection, if nobody else needs it; it has to be given back."""
        with self._changed:
            found = self._hosts[host]
            unused = not found.waiting and found.files + found.borrowed < limit
            if unused and pace.monotonic() - found.left >= _LEFT_SECONDS:
                found.borrowed += 1
                return True
            return False

    def give_back(self, host: str) -> None:
        """Give a borrowed connection back."""
        with self._changed:
            self._hosts[host].borrowed -= 1
            self._changed.notify_all()

    def wanted(self, host: str) -> bool:
        """Whether a file waits for a borrowed connection."""
        return self._hosts[host].waiting > 0

    def _wait(self, found: _Host, pace: Pace) -> None:
        found.waiting += 1
        try:
            pace.check()
            self._changed.wait(_LOOK_SECONDS)
        finally:
            found.waiting -= 1


LINES = Lines()
