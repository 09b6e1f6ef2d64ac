"""A clock that tests move: waiting costs no time."""

from __future__ import annotations

import threading
import time

from tasks.clients.seams import Pace


class FakePace(Pace):
    """Waits are over at once; the clock shows that they happened. What libcurl does takes its real time."""

    def __init__(self):
        super().__init__()
        self.skipped = 0.0
        self.waits = []
        self.on_wait = None
        self._lock = threading.Lock()

    def monotonic(self):
        return time.monotonic() + self.skipped

    def now(self):
        return time.time() + self.skipped

    def wait(self, seconds):
        self.check()
        with self._lock:
            self.skipped += max(0.0, seconds)
            self.waits.append(seconds)
        if self.on_wait:
            self.on_wait()
        self.check()
